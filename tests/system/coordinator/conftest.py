"""The coordinator alone, and peers made of a libzmq and protobuf of their own."""
import pytest

from peer import Farm


@pytest.fixture
def farm(tmp_path):
    farm = Farm(tmp_path / "state").start()
    yield farm
    farm.stop()


@pytest.fixture
def admin(farm):
    admin = farm.admin()
    farm.add_model(admin)
    return admin
