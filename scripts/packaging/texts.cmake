# Man pages and completions of all programs, made by the programs themselves from the rows that
# also parse their command lines (trainer/cli.h). Included by CMakeLists.txt with PROGRAMS set.
if(SW2_SMPI OR CMAKE_CROSSCOMPILING) # these can't be run here
  return()
endif()

# Debian's zsh looks elsewhere for what packages bring.
install(CODE "set(ZSH_FOLDER ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
if(CMAKE_INSTALL_PREFIX MATCHES \"(^|/_CPack_Packages/.*)/usr$\")
  set(ZSH_FOLDER ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions)
endif()")
find_program(GZIP gzip)
set(TEXTS)
foreach(program ${PROGRAMS})
  set(folder ${CMAKE_BINARY_DIR}/texts)
  set(manual ${folder}/${program}.1)
  set(bash ${folder}/bash/${program})
  set(zsh ${folder}/zsh/_${program})
  # Not as a rank of a job that this build may run in; not by way of a launcher's variables.
  set(run ${CMAKE_COMMAND} -E env --unset=OMPI_COMM_WORLD_SIZE --unset=PMI_SIZE --unset=PMIX_RANK
    --unset=SLURM_STEP_NUM_TASKS NO_COLOR=1 $<TARGET_FILE:${program}>)
  add_custom_command(OUTPUT ${manual} ${bash} ${zsh}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${folder}/bash ${folder}/zsh
    COMMAND ${run} --help=man > ${manual}
    COMMAND ${run} --help=bash > ${bash}
    COMMAND ${run} --help=zsh > ${zsh}
    DEPENDS ${program} VERBATIM)
  if(GZIP) # without name and time: the same bytes each time
    add_custom_command(OUTPUT ${manual}.gz COMMAND ${GZIP} -9nc ${manual} > ${manual}.gz
      DEPENDS ${manual} VERBATIM)
    set(manual ${manual}.gz)
  endif()
  list(APPEND TEXTS ${manual} ${bash} ${zsh})
  install(FILES ${manual} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
  install(FILES ${bash} DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
  install(FILES ${zsh} DESTINATION \${ZSH_FOLDER})
endforeach()
add_custom_target(texts ALL DEPENDS ${TEXTS})
