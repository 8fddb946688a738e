"""The service from Python, with the library's own values: :class:`Client` and :class:`AsyncClient`.

Their methods are those of :class:`biometrik.Engine`, so that a program can move from one to the other.

>>> from biometrik.client import Client
>>> with Client("127.0.0.1:50051") as office:  # doctest: +SKIP
...     decision = office.verify("A-0192", [biometrik.FaceImage.from_file("counter.jpg")])
"""

from biometrik.client.asynchronous import AsyncClient as AsyncClient
from biometrik.client.connection import Connection as Connection
from biometrik.client.enrollment import Finalized as Finalized
from biometrik.client.enrollment import OpenedSession as OpenedSession
from biometrik.client.served import Calibration as Calibration
from biometrik.client.served import Capabilities as Capabilities
from biometrik.client.served import ServedCopy as ServedCopy
from biometrik.client.served import ServedModel as ServedModel
from biometrik.client.station import AsyncStationClient as AsyncStationClient
from biometrik.client.station import CaptureMoment as CaptureMoment
from biometrik.client.station import StationClient as StationClient
from biometrik.client.station import StationDevice as StationDevice
from biometrik.client.station import StationLease as StationLease
from biometrik.client.synchronous import Client as Client
