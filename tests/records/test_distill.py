"""Records of distillation, also those of earlier versions."""

import json

from compress.records.distill import DistillRecord, TeacherRow
from tests import fake_run

FORMAT = {
    "number_format": "bfloat16",
    "format_agreement": 0.998,
    "format_probability_error": 0.0003,
}


def test_what_a_teacher_s_number_format_costs_is_read_back() -> None:
    teacher = fake_run.TEACHER.model_copy(update=FORMAT)
    record = fake_run.record([], teacher=teacher)
    assert DistillRecord.from_data(json.loads(record.to_json()), source="it").teacher == teacher


def test_an_older_record_leaves_the_teacher_s_number_format_open() -> None:
    data = json.loads(fake_run.record([]).to_json())
    for key in FORMAT:
        del data["teacher"][key]
    read: TeacherRow = DistillRecord.from_data(data, source="it").teacher
    assert [getattr(read, key) for key in FORMAT] == [None, None, None]
