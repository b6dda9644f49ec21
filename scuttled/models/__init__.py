"""The data types. To add one: a file here, and its line in MODELS."""

from scuttled.core.scuttlebutt import Scuttlebutt
from scuttled.models.map import Map

MODELS: dict[str, type[Scuttlebutt]] = {
    Map.data_type: Map,
}
