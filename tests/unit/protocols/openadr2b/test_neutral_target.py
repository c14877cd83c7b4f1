import pytest

from protocols.grid import Target
from protocols.openadr2b import model
from protocols.openadr2b.neutral_target import read_targets, write_targets

EVERY_KIND = model.Targets(
    aggregated_pnodes=("a",),
    end_device_assets=("e",),
    meter_assets=("m",),
    pnodes=("p",),
    service_areas=((1.0, 2.5, 3.0, -4.0),),
    service_delivery_points=("d",),
    service_locations=((5.0, 6.0),),
    transport_interfaces=(model.TransportInterface(point_of_receipt="in", point_of_delivery="out"),),
    group_ids=("g1", "g2"),
    group_names=("north",),
    resource_ids=("r",),
    ven_ids=("v",),
    party_ids=("q",),
)


def test_targets_of_every_kind_are_the_same_at_the_other_end() -> None:
    targets = read_targets(EVERY_KIND)
    assert write_targets(targets) == EVERY_KIND
    assert len({target.kind for target in targets}) == 13
    assert Target(kind="serviceArea", value="1.0 2.5 3.0 -4.0") in targets
    assert Target(kind="transportInterface", value="in -> out") in targets


def test_a_kind_that_2_0b_has_no_element_for_is_not_written() -> None:
    with pytest.raises(ValueError, match="kind moon"):
        write_targets([Target(kind="moon", value="1")])
