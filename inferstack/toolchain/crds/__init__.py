"""CRDs of other projects, extracted from pinned Go modules.

``versions.yaml`` (key ``crds``) pins a module version and hash for each add-on. The ``go`` command downloads the
module, and its CRDs are kept in the cache folder as JSON.

The CRDs are kept without the ``description`` of schemas, which are most of the bytes and have no effect, so that the
API server, Pulumi's state and diffs stay small. ``described=True`` keeps them. ``status`` is removed too, and so are
annotations except ``api-approved.kubernetes.io``, which API servers require on CRDs of Kubernetes' own groups.
"""

from inferstack.toolchain.crds.modules import Source, sources
from inferstack.toolchain.crds.store import clean, ensure, load, place_of

__all__ = ["Source", "clean", "ensure", "load", "place_of", "sources"]
