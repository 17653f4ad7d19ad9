"""Reads a Perfetto trace with the descriptors of the package perfetto; what is in it, as JSON."""

import json
import sys

from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as proto


def unknown(message, where):
    """Fields that the descriptors do not have, or enumerations without such a value."""
    from google.protobuf.unknown_fields import UnknownFieldSet

    assert len(UnknownFieldSet(message)) == 0, f"unknown fields in {where}"
    for field, value in message.ListFields():
        if field.message_type is not None:
            for one in value if field.is_repeated else [value]:
                unknown(one, f"{where}.{field.name}")


trace = proto.Trace()
with open(sys.argv[1], "rb") as file:
    trace.ParseFromString(file.read())

names, categories, annotations = {}, {}, {}
tracks, events, clocks = [], [], {}


def value(annotation):
    if annotation.dict_entries:
        return {annotations[one.name_iid]: value(one) for one in annotation.dict_entries}
    kind = annotation.WhichOneof("value")
    if kind is not None:
        return getattr(annotation, kind)
    return [value(one) for one in annotation.array_values]


for number, packet in enumerate(trace.packet):
    unknown(packet, f"packet {number}")
    assert packet.trusted_packet_sequence_id == 1
    assert packet.sequence_flags == (1 if number == 0 else 2)
    for one in packet.interned_data.event_names:
        names[one.iid] = one.name
    for one in packet.interned_data.event_categories:
        categories[one.iid] = one.name
    for one in packet.interned_data.debug_annotation_names:
        annotations[one.iid] = one.name
    kind = packet.WhichOneof("data")
    if kind == "clock_snapshot":
        for clock in packet.clock_snapshot.clocks:
            clocks[proto.BuiltinClock.Name(clock.clock_id)] = clock.timestamp
    elif kind == "track_descriptor":
        track = packet.track_descriptor
        tracks.append({"uuid": track.uuid, "parent": track.parent_uuid, "name": track.name})
    elif kind == "track_event":
        event = packet.track_event
        assert any(track["uuid"] == event.track_uuid for track in tracks)
        events.append(
            {
                "type": proto.TrackEvent.Type.Name(event.type),
                "time": packet.timestamp,
                "clock": proto.BuiltinClock.Name(packet.timestamp_clock_id),
                "track": event.track_uuid,
                "name": event.name or names.get(event.name_iid),
                "categories": [categories[iid] for iid in event.category_iids],
                "details": {annotations[one.name_iid]: value(one) for one in event.debug_annotations},
            }
        )
    else:
        raise AssertionError(kind)

json.dump({"clocks": clocks, "tracks": tracks, "events": events}, sys.stdout)
