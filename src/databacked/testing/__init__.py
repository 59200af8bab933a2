"""For tests: a project of one's own, and checks that every plug has to pass."""

from databacked.testing.project import project
from databacked.testing.runners import check_runner
from databacked.testing.serializers import assert_same, check_serializer
from databacked.testing.storage import check_storage

__all__ = ["assert_same", "check_runner", "check_serializer", "check_storage", "project"]
