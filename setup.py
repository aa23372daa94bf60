"""Builds the compiled twin of the hot path, where there is a compiler; everything else is in setup.cfg."""

import os
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

#: Symbols for a debugger take half of gcc's time and four fifths of the build's size; CFLAGS=-g brings them back.
SYMBOLS = [] if "-g" in os.environ.get("CFLAGS", "").split() else ["-g0"]
#: Modules that loop over bytes themselves. The others call the interpreter, where gcc finds next to nothing to improve:
#: with -O1 it takes half the time, and a message or a request costs the same within 2 %.
LOOPS = {"uwsgi_ws.protocol.websocket.speed", "uwsgi_ws.net.raw"}
HEADERS = {Path("uwsgi_ws/hub/greenlets.pxd")}
PROCESSORS = len(os.sched_getaffinity(0))


def sources() -> list[str]:
    """Return what to compile: each .pyx, and each Python source with a .pxd of types beside it.

    C that others include has nothing to compile.
    """
    found = {path.with_suffix(""): path for path in Path("uwsgi_ws").rglob("*.pyx")}
    for path in Path("uwsgi_ws").rglob("*.pxd"):
        if path not in HEADERS:
            found.setdefault(path.with_suffix(""), path.with_suffix(".py"))
    return sorted(map(str, found.values()))


def beside(name: str) -> str:
    """Return where this interpreter looks for a module's extension in the checkout."""
    return name.replace(".", "/") + sysconfig.get_config_var("EXT_SUFFIX")


def extensions() -> list[Extension]:
    """Return what to compile; nothing where what builds them is missing."""
    try:
        import greenlet
        from Cython.Build import cythonize
    except ImportError:
        return []
    types = max(path.stat().st_mtime for path in Path("uwsgi_ws").rglob("*.pxd"))
    modules, ready = [], []
    for source in sources():
        name = source.rpartition(".")[0].replace("/", ".")
        product = Path(beside(name))
        if product.exists() and product.stat().st_mtime > max(types, os.path.getmtime(source)):
            ready.append(Extension(name, []))
        else:
            flags = ["-O3" if name in LOOPS else "-O1", *SYMBOLS]
            modules.append(Extension(name, [source], include_dirs=[greenlet.__path__[0]], extra_compile_args=flags))
    compiled = cythonize(
        modules,
        nthreads=PROCESSORS,
        language_level=3,
        compiler_directives={
            # Annotations are for people and mypy; the types that C needs are in the .pxd files.
            "annotation_typing": False,
            # None in the place of a typed object is an AttributeError, as in Python, not a crash.
            "nonecheck": True,
        },
    )
    compiled.sort(key=lambda extension: -os.path.getsize(extension.sources[0]))  # the longest first: all end together
    for extension in compiled:
        # Without a compiler the build warns, and the package works as pure Python.
        extension.optional = True
    return compiled + ready


class Build(build_ext):
    """Compiles as many modules at once as there are processors, and none twice.

    setuptools builds in a new folder each time. What an earlier command (`make run`, `make test`, `make wheel`) left
    beside its source, and is newer, is taken as it is.
    """

    def finalize_options(self) -> None:
        """Use all processors unless the command line says how many."""
        super().finalize_options()
        self.parallel = self.parallel or PROCESSORS

    def build_extension(self, ext: Extension) -> None:
        """Compile a module, or take what is there."""
        if ext.sources:
            super().build_extension(ext)
        else:
            target = self.get_ext_fullpath(ext.name)
            self.mkpath(os.path.dirname(target))
            self.copy_file(beside(ext.name), target)


setup(ext_modules=extensions(), cmdclass={"build_ext": Build})
