# SPDX-License-Identifier: MIT
# Spack's recipe of this package. In a repository of your own:
#     spack repo create ~/sw2-repo; mkdir -p ~/sw2-repo/packages/sw2
#     cp scripts/packaging/package.py ~/sw2-repo/packages/sw2/; spack repo add ~/sw2-repo
#     spack dev-build sw2@main        (in a clone; or give `git` below the clone's address)
from spack.package import *


class Sw2(CMakePackage):
    """Distributed data-parallel trainer for convolutional networks on CPUs: the same weights,
    bit for bit, at any number of MPI ranks, and after any crash."""

    homepage = "file:///"
    git = "file:///"

    license("MIT")

    version("main", branch="main")

    variant("xsmm", default=True, description="Inner kernels of LIBXSMM beside OpenBLAS")
    variant("png", default=True, description="sw2-report draws PNG by librsvg")

    depends_on("c", type="build")
    depends_on("cmake@3.18:", type="build")
    depends_on("ninja", type="build")
    depends_on("pkgconfig", type="build")
    depends_on("mpi")
    depends_on("hdf5@1.10: ~mpi +hl")
    depends_on("openblas threads=none")
    depends_on("libxsmm@1.17: ~header-only", when="+xsmm")
    depends_on("libyaml")
    depends_on("xxhash")
    depends_on("random123", type="build")
    depends_on("libpng")
    depends_on("libjpeg")
    depends_on("zlib-api")
    depends_on("librsvg", when="+png")
    depends_on("cmocka", type="test")

    generator("ninja")

    conflicts("platform=darwin", msg="Linux only: /proc, POSIX shared memory")
    conflicts("target=aarch64:", msg="x86-64 only")

    def cmake_args(self):
        return [
            self.define_from_variant("SW2_XSMM", "xsmm"),
            self.define("SW2_TESTS", self.run_tests),
            self.define("MPI_C_COMPILER", self.spec["mpi"].mpicc),
        ]

    def setup_run_environment(self, env):
        env.set("SW2_ROOT", self.prefix)

    @run_after("install")
    def check_install(self):
        Executable(self.prefix.bin.join("sw2-train"))("--plan")
