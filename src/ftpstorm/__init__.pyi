from ftpstorm.api import Failures as Failures
from ftpstorm.api import FailuresByClass as FailuresByClass
from ftpstorm.api import Result as Result
from ftpstorm.api import load as load
from ftpstorm.api import run as run

__version__: str
