"""Builds the compiled twin of the hot path, where there is a compiler; everything else is in setup.cfg."""

import os

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

#: Modules whose Python source is compiled as it is, with the types of the .pxd beside it.
TWINS = [
    "uwsgi_ws/api",
    "uwsgi_ws/fronts/base",
    "uwsgi_ws/fronts/stream_request",
    "uwsgi_ws/net/poller",
    "uwsgi_ws/net/stream",
    "uwsgi_ws/net/turn",
    "uwsgi_ws/protocol/cgi",
    "uwsgi_ws/protocol/http1",
    "uwsgi_ws/protocol/websocket",
    "uwsgi_ws/stats",
    "uwsgi_ws/websocket/broadcast",
    "uwsgi_ws/websocket/connection",
    "uwsgi_ws/websocket/outbox",
    "uwsgi_ws/wsgi/environ",
    "uwsgi_ws/wsgi/input",
    "uwsgi_ws/wsgi/response",
]
#: Symbols for a debugger take half of gcc's time and four fifths of the build's size; CFLAGS=-g brings them back.
_FLAGS = ["-O3"] if "-g" in os.environ.get("CFLAGS", "").split() else ["-O3", "-g0"]
#: Those for which pointers are the clearer tool; Python code beside them does the same.
POINTERS = ["uwsgi_ws/net/_raw", "uwsgi_ws/protocol/_speed"]


def extensions() -> list[Extension]:
    """Return what to compile; nothing where what builds them is missing."""
    try:
        import greenlet
        from Cython.Build import cythonize
    except ImportError:
        return []
    sources = [f"{path}.py" for path in TWINS] + [f"{path}.pyx" for path in POINTERS]
    modules = []
    for source in sources:
        name = source.rpartition(".")[0].replace("/", ".")
        modules.append(Extension(name, [source], include_dirs=[greenlet.__path__[0]], extra_compile_args=_FLAGS))
    built = cythonize(
        modules,
        language_level=3,
        compiler_directives={
            # Annotations are for people and mypy; the types that C needs are in the .pxd files.
            "annotation_typing": False,
            # None in the place of a typed object is an AttributeError, as in Python, not a crash.
            "nonecheck": True,
        },
    )
    for extension in built:
        # Without a compiler the build warns, and the package works as pure Python.
        extension.optional = True
    return built


class ParallelBuild(build_ext):
    """Compiles as many modules at once as there are processors; setuptools' own default is one."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = self.parallel or len(os.sched_getaffinity(0))


setup(ext_modules=extensions(), cmdclass={"build_ext": ParallelBuild})
