# Files become part of the program.
#
# farm_embed(TARGET NAME FILES) adds to TARGET a C array of every file's name and text:
#     extern const struct embedded_file NAME[];   (base/embedded.h; ends with a null name)
function(farm_embed target name files)
    set(output ${CMAKE_BINARY_DIR}/generated/${name}.c)
    add_custom_command(
        OUTPUT ${output}
        COMMAND ${CMAKE_COMMAND} -DNAME=${name} "-DFILES=${files}" -DOUTPUT=${output}
                -P ${CMAKE_SOURCE_DIR}/cmake/embed_files.cmake
        DEPENDS ${files} ${CMAKE_SOURCE_DIR}/cmake/embed_files.cmake
        VERBATIM)
    target_sources(${target} PRIVATE ${output})
endfunction()
