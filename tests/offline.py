#!/usr/bin/env python3
"""Compiles the GPU kernels for cards that are not here, and looks at what comes out.

    offline.py LIST [--quick] [--targets A,B] [--tools FOLDER] [--only FILE]

LIST holds lines "FILE OPTIONS", as programs with FARM_KERNEL_LIST in their environment write
them for every kernel they build or plan: so what is compiled is what the engine asks for, and
for products what a tuned one may ask for, in tiles of all sizes.
Every build is compiled for every target, those with a matrix unit's options for that unit's
targets. NVIDIA: clang to PTX, ptxas to code. AMD: clang to assembly. Both with libclc as
OpenCL's library. Intel: Intel's own compiler, ocloc.

A build fails when it does not compile, needs more registers than it may, spills, or has a
matrix unit's options and none of its instructions; the run does too when a file of kernels is
in no line. Prints a table, the worst of each kernel file and target; exits 1 when it failed.

--quick: of each file and matrix unit only two builds, those whose options hold the largest and
the smallest numbers."""
import argparse
import collections
import concurrent.futures
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile

KERNELS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../opencl/kernels")
CLANG = ["clang-19", "-x", "cl", "-O3", "-S", "-nogpulib", "-Xclang", "-mlink-builtin-bitcode",
         "-Xclang"]

# Registers that a work-item may take: 65536 of NVIDIA's for 256 items; of AMD's 512 for a
# lane of CDNA (architectural and accumulation together), 256 of RDNA; Intel's are a thread's.
Target = collections.namedtuple("Target", "name compile unit instruction registers")


def run(command, **more):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", check=False, **more)
    if done.returncode:
        raise RuntimeError(done.stdout.strip()[-2000:] or f"{command[0]}: {done.returncode}")
    return done.stdout


def number(pattern, text):
    return max((int(n) for n in re.findall(pattern, text)), default=0)


def nvidia(chip):
    def build(source, options, folder):
        ptx = os.path.join(folder, "k.ptx")
        run(CLANG + ["/usr/lib/clc/nvptx64--nvidiacl.bc", "-target", "nvptx64-nvidia-nvcl",
                     f"-march={chip}", *options, source, "-o", ptx])
        said = run(["ptxas", f"-arch={chip}", "-v", ptx, "-o", os.path.join(folder, "k.bin")])
        with open(ptx, encoding="utf-8") as file:
            text = file.read()
        return (text, number(r"Used (\d+) registers", said), number(r"(\d+) bytes smem", said),
                number(r"(\d+) bytes spill", said))
    return build


def amd(chip):
    def build(source, options, folder):
        code = os.path.join(folder, "k.s")
        run(CLANG + [f"/usr/lib/clc/{chip}-amdgcn-mesa-mesa3d.bc", "-target",
                     "amdgcn-mesa-mesa3d", f"-mcpu={chip}", *options, source, "-o", code])
        with open(code, encoding="utf-8") as file:
            text = file.read()
        registers = max(number(r"; NumVgprs: (\d+)", text),
                        number(r"; TotalNumVgprs: (\d+)", text))
        return (text, registers, number(r"; LDSByteSize: (\d+)", text),
                number(r"vgpr_spill_count: *(\d+)", text) or
                len(re.findall(r"Folded Spill", text)))
    return build


def intel(chip, lanes, folder_of_ocloc):
    def build(source, options, folder):
        more = dict(os.environ, IGC_ShaderDumpEnable="1", IGC_DumpToCustomDir=folder,
                    LD_LIBRARY_PATH=f"{folder_of_ocloc}/usr/lib/x86_64-linux-gnu")
        run([f"{folder_of_ocloc}/usr/bin/ocloc", "compile", "-q", "-file", source, "-device",
             chip, "-out_dir", folder, "-options",
             " ".join([*options, f"-DINTEL_LANES={lanes}"])], env=more)
        last = {}  # of a kernel: a second attempt, where there is one, is what counts
        for name in sorted(os.listdir(folder)):
            if kernel := re.fullmatch(r".*?(_\d+)?_simd\d+_entry_(\d+)\.asm", name):
                attempt = int((kernel[1] or "_0")[1:])
                if attempt >= last.get(kernel[2], (-1, ""))[0]:
                    last[kernel[2]] = attempt, name
        text = ""
        for _, name in last.values():
            with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as file:
                text += file.read()
        return (text, number(r"numGRF=(\d+)", text), 0, number(r"//\.spill size (\d+)", text))
    return build


def targets(tools):
    ocloc = os.path.join(tools, "ocloc")
    return [
        Target("sm_80", nvidia("sm_80"), "MATRIX_NVIDIA", r"mma\.sync", 255),
        Target("sm_90", nvidia("sm_90"), "MATRIX_NVIDIA", r"mma\.sync", 255),
        Target("gfx90a", amd("gfx90a"), "MATRIX_MFMA", r"\bv_mfma_f32", 512),
        Target("gfx942", amd("gfx942"), "MATRIX_MFMA", r"\bv_mfma_f32", 512),
        Target("gfx1100", amd("gfx1100"), "MATRIX_WMMA", r"\bv_wmma_f32", 256),
        Target("dg2", intel("dg2-g10", 8, ocloc), "MATRIX_INTEL=8", r"\bdpas\.", 128),
        Target("pvc", intel("pvc", 16, ocloc), "MATRIX_INTEL=16", r"\bdpas\.", 128),
    ]


def whole(name):
    with open(os.path.join(KERNELS, name), encoding="utf-8") as file:
        for line in file:
            if included := re.match(r'#include "([a-z0-9_.]+)"', line):
                yield from whole(included[1])
            else:
                yield line


def builds(path, only):
    """(file, options) of GPU kernels, each once; emulated units as the real ones."""
    found = set()
    with open(path, encoding="utf-8") as file:
        for line in file:
            name, *options = line.split()
            if name.endswith("_cpu.cl") or (only and name != only):
                continue
            found.add((name, tuple(o for o in options
                                   if o not in ("-DEMULATED", "-cl-opt-disable"))))
    return sorted(found | set(retiled(found)))


def retiled(found):
    """Products in every tile that another product has, of the same kernel and matrix unit."""
    def tile_of(name, options):
        tile = tuple(o for o in options if re.match("-D(TILE|SPAN)_", o))
        return (name, unit_of(options)), tile

    tiles = collections.defaultdict(set)
    for name, options in found:
        group, tile = tile_of(name, options)
        tiles[group].add(tile)
    for name, options in found:
        group, tile = tile_of(name, options)
        rest = tuple(o for o in options if o not in tile)
        for other in tiles[group] if tile else ():
            yield name, rest + other


def unit_of(options):
    return next((o[2:] for o in options if o.startswith("-DMATRIX_")), None)


def two_of_each(found):
    """Of each file and matrix unit the builds of the largest and the smallest numbers."""
    def size(build):
        numbers = [int(n) for o in build[1] for n in re.findall(r"^-D\w+=(\d+)$", o)]
        return math.prod(n + 1 for n in numbers), build[1]

    groups = collections.defaultdict(list)
    for name, options in found:
        groups[name, unit_of(options)].append((name, options))
    return sorted({pick(group, key=size) for group in groups.values() for pick in (min, max)})


def not_in(found):
    """Files of GPU kernels of which the list holds no build."""
    listed = {name for name, _ in found}
    return [name for name in sorted(os.listdir(KERNELS))
            if name.endswith(".cl") and not name.endswith("_cpu.cl") and name not in listed
            and any(line.startswith("__kernel") for line in open(os.path.join(KERNELS, name),
                                                                 encoding="utf-8"))]


def compile_one(job):
    target, name, options, source = job
    unit = unit_of(options)
    with tempfile.TemporaryDirectory() as folder:
        try:
            text, registers, local, spills = target.compile(source, options, folder)
        except RuntimeError as error:
            return target.name, name, options, (0, 0, 0, 0), str(error)
    found = len(re.findall(target.instruction, text))
    wrong = None
    if spills:
        wrong = f"spills {spills}"
    elif registers > target.registers:
        wrong = f"{registers} registers, at most {target.registers}"
    elif unit and not found:
        wrong = "no matrix instruction"
    elif registers == 0:
        wrong = "no kernel came out"
    return target.name, name, options, (registers, local, spills, found), wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("list")
    parser.add_argument("--tools", default="")
    parser.add_argument("--targets", default="")
    parser.add_argument("--only", default="")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    wanted = [t for t in targets(arguments.tools)
              if not arguments.targets or t.name in arguments.targets.split(",")]
    sources = tempfile.mkdtemp()
    jobs = []
    found = builds(arguments.list, arguments.only)
    missing = [] if arguments.only else not_in(found)
    for name, options in two_of_each(found) if arguments.quick else found:
        source = os.path.join(sources, name)
        if not os.path.exists(source):
            with open(source, "w", encoding="utf-8") as file:
                file.writelines(whole(name))
        unit = unit_of(options)
        jobs += [(t, name, options, source) for t in wanted if unit in (None, t.unit)]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(compile_one, jobs))
    shutil.rmtree(sources)

    rows = collections.OrderedDict()
    for target, name, _, figures, _ in results:
        row = rows.setdefault((name, target), [0, 0, 0, 0, 0])
        row[0] += 1
        for i, figure in enumerate(figures):
            row[i + 1] = max(row[i + 1], figure)
    print(f"{'kernels':20} {'target':8} {'builds':>6} {'registers':>9} {'local':>6} "
          f"{'spills':>6} {'matrix instructions':>19}")
    for (name, target), row in sorted(rows.items()):
        print(f"{name:20} {target:8} {row[0]:6} {row[1]:9} {row[2]:6} {row[3]:6} {row[4]:19}")
    failed = [result for result in results if result[4]]
    for target, name, options, _, wrong in failed:
        print(f"{target}: {name} {' '.join(options)}: {wrong}")
    for name in missing:
        print(f"{name}: no build of it is in {arguments.list}")
    print(f"{len(results)} builds, {len(failed)} failed")
    return bool(failed or missing or not results)


if __name__ == "__main__":
    sys.exit(main())
