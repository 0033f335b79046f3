"""What tests of the pages about stores need."""

from tests.features.tools.conftest import folder as folder
