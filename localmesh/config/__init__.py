"""Istio YAML as typed, frozen values, and the reading of a folder of it."""

from localmesh.config.folder import FolderReader, Resource, Resources, read_folder
from localmesh.config.mesh_config import MeshConfig

__all__ = ["FolderReader", "MeshConfig", "Resource", "Resources", "read_folder"]
