# The library for C and C++ programs: `cmake --install`, then find_package(pocketuni) and pocketuni::pocketuni.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

add_library(pocketuni SHARED csrc/api/c_api.cc csrc/api/c_speech.cc csrc/api/c_stream.cc csrc/api/c_voice.cc)
target_link_libraries(pocketuni PRIVATE pocketuni_core)
target_include_directories(pocketuni PUBLIC $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/csrc/api>
                                            $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_link_options(pocketuni PRIVATE ${whole_program} -Wl,--gc-sections -Wl,--exclude-libs,ALL)
set_target_properties(pocketuni PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION 0
                                           PUBLIC_HEADER csrc/api/pocketuni.h)

install(TARGETS pocketuni EXPORT pocketuniTargets
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
        PUBLIC_HEADER DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT pocketuniTargets NAMESPACE pocketuni:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/pocketuni)
file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/pocketuniConfig.cmake
     "include(\"\${CMAKE_CURRENT_LIST_DIR}/pocketuniTargets.cmake\")\n")
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/pocketuniConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/pocketuniConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/pocketuniConfigVersion.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/pocketuni)
