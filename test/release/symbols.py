"""Prints what each given library file is, needs and offers, as JSON; lief reads the formats of all systems."""

import json
import sys

import lief


def describe(path):
    binary = lief.parse(path)
    header = binary.header
    if isinstance(binary, lief.ELF.Binary):
        kind, cpu = "ELF", header.machine_type.name
        versions = [need.name for entry in binary.symbols_version_requirement for need in entry.get_auxiliary_symbols()]
        undefined = [symbol for symbol in binary.dynamic_symbols if symbol.shndx == 0 and symbol.name]
        imported = [symbol.name for symbol in undefined if symbol.binding == lief.ELF.Symbol.BINDING.GLOBAL]
        exported = [symbol.name for symbol in binary.exported_symbols]
        libraries = list(binary.libraries)
    elif isinstance(binary, lief.PE.Binary):
        kind, cpu, versions = "PE", header.machine.name, []
        imported = [entry.name for library in binary.imports for entry in library.entries]
        exported = [entry.name for entry in binary.get_export().entries]
        libraries = [library.name for library in binary.imports]
    else:
        kind, cpu, versions = "MachO", header.cpu_type.name, []
        imported = [symbol.name for symbol in binary.imported_symbols]
        exported = [symbol.name for symbol in binary.exported_symbols]
        libraries = [library.name for library in binary.libraries]
    return {
        "kind": kind,
        "cpu": cpu,
        "libraries": libraries,
        "versions": versions,
        "imported": sorted(map(str, imported)),
        "exported": sorted(map(str, exported)),
    }


print(json.dumps({path: describe(path) for path in sys.argv[1:]}))
