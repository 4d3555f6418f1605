"""The suite that proves a backend of unimodel.

``pytest --pyargs unimodel_conformance --backend NAME`` runs it; there is nothing to write and nothing to configure. What a backend cannot do it declares on its own
class (``capabilities``, ``tolerances``, ``known_defects``), so that the suite holds no backend's name.
"""

__version__ = "0.1.0"
