# cmake -DNM=nm -DOBJECT=kernels.o -P isa_symbols.cmake: fails when the object defines a symbol another object may share.
execute_process(COMMAND ${NM} -C --defined-only ${OBJECT} OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "[^\n]* [VWu] [^\n]*" weak "${symbols}")
list(JOIN weak "\n" weak)
if(weak)
  message(FATAL_ERROR "${OBJECT} defines weak symbols; expected none. Give these internal linkage or inline them:\n${weak}")
endif()
