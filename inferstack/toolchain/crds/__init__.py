"""The real CRDs of other projects, from pinned Go modules.

They are not copied into this repository: ``versions.yaml`` (key ``crds``) pins a module's version and hash for each
add-on, the ``go`` command downloads it, and what is needed of it is kept in the cache folder as JSON.

They are kept without the ``description`` of schemas, which are most of the bytes and decide nothing: the API server,
Pulumi's state and every diff have less to carry. ``described=True`` keeps them. ``status`` goes too, and so do
annotations but ``api-approved.kubernetes.io``, without which no API server takes a CRD of Kubernetes' own groups.
"""

from inferstack.toolchain.crds.catalogue import Source, sources
from inferstack.toolchain.crds.shelf import clean, ensure, load, place_of

__all__ = ["Source", "clean", "ensure", "load", "place_of", "sources"]
