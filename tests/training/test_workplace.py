"""What is shared: alone, silent and unstopped unless told."""

from compress.progress import Silent
from compress.training.distributed import World
from compress.training.workplace import Workplace, unwatched
from tests.tiny_training import CPU


def test_a_workplace_is_alone_silent_and_runs_on_unless_told() -> None:
    place = Workplace(CPU)
    assert place.world == World()
    assert isinstance(place.progress, Silent)
    assert not place.stop.requested
    assert place.watch is unwatched


def test_no_two_workplaces_share_a_request_to_stop() -> None:
    first, second = Workplace(CPU), Workplace(CPU)
    first.stop.requested = True
    assert not second.stop.requested
