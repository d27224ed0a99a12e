"""The ADS conversation as a state machine: no I/O, no threads, no clock."""

from xds_client.session.delta import PATIENCE, DeltaSession
from xds_client.session.update import AdsSession, Names, Request, Update

__all__ = ["PATIENCE", "AdsSession", "DeltaSession", "Names", "Request", "Update"]
