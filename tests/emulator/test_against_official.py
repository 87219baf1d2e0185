"""Random documents, writes and queries: this server and Google's emulator must answer alike.

Skipped, with the reason, where the official emulator (Java and a jar of the Cloud SDK) is not on the machine.
JIGA_EMULATOR_ROUNDS the number of rounds of documents (default 4; some 60 comparisons each).
"""

import itertools
import math
import os
import random
import time
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict

from emulator import protocol as p
from emulator.values import encode

ROUNDS = int(os.environ.get("JIGA_EMULATOR_ROUNDS", "4"))
QUERIES = 45
FIELDS = ["a", "b", "m.x", "tags"]
OPERATORS = ["LESS_THAN", "LESS_THAN_OR_EQUAL", "GREATER_THAN", "GREATER_THAN_OR_EQUAL", "EQUAL", "NOT_EQUAL"]


class Side:
    """One of the two servers, through raw stubs."""

    def __init__(self, address: str, project: str) -> None:
        self.channel = grpc.insecure_channel(address)
        self.database = f"projects/{project}/databases/(default)"

    def call(self, method: str, request: Any, response: Any, *, stream: bool) -> Any:
        kind = self.channel.unary_stream if stream else self.channel.unary_unary
        stub = kind(f"/{p.SERVICE}/{method}", type(request).SerializeToString, response.FromString)
        try:
            answer = stub(request, timeout=20)
            return list(answer) if stream else answer
        except grpc.RpcError as error:
            return error.code().name

    def commit(self, *writes: Any) -> Any:
        return self.call(
            "Commit", p.CommitRequest(database=self.database, writes=writes), p.CommitResponse, stream=False
        )

    def query(self, query: Any) -> Any:
        request = p.RunQueryRequest(parent=f"{self.database}/documents", structured_query=query)
        found = self.call("RunQuery", request, p.RunQueryResponse, stream=True)
        if isinstance(found, str):
            return found
        return [shape(r.document) for r in found if r.HasField("document")]

    def aggregate(self, query: Any) -> Any:
        request = p.RunAggregationQueryRequest(parent=f"{self.database}/documents")
        request.structured_aggregation_query.structured_query.CopyFrom(query)
        for alias in ("n", "s", "v"):
            request.structured_aggregation_query.aggregations.add(alias=alias)
        count, total, average = request.structured_aggregation_query.aggregations
        count.count.SetInParent()
        total.sum.field.field_path = average.avg.field.field_path = "a"
        found = self.call("RunAggregationQuery", request, p.RunAggregationQueryResponse, stream=True)
        if isinstance(found, str):
            return found
        fields = found[0].result.aggregate_fields
        return [fields["n"].integer_value, fields["s"].integer_value, rounded(fields["s"]), rounded(fields["v"])]


def rounded(value: Any) -> str | None:
    """A double up to the last digits, which depend on the sequence of additions (as text: NaN equals NaN)."""
    return f"{value.double_value:.12e}" if value.HasField("double_value") else None


def shape(document: Any) -> tuple[str, dict[str, Any]]:
    """A document without what names its project and times."""
    fields = {key: MessageToDict(value) for key, value in document.fields.items()}
    return document.name.partition("/documents/")[2], fields


class Maker:
    """Random values, documents and queries. Without references: those would name the project."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def value(self, depth: int = 0) -> Any:
        pick = self.random.choice
        kind = pick(["int", "int", "int", "double", "string", "null", "bool", "bytes", "time", "geo", "array", "map"])
        value = p.Value()
        match kind:
            case "int":
                value.integer_value = pick([0, 1, 2, 3, -1, 2**53 + 1])
            case "double":
                value.double_value = pick([0.0, -0.0, 1.0, 1.5, -2.5, math.nan, math.inf, 2.0**53])
            case "string":
                value.string_value = pick(["", "a", "ab", "b", "é", "\U0001f600", "\uffee", "a\0b"])
            case "null":
                value.null_value = 0
            case "bool":
                value.boolean_value = pick([True, False])
            case "bytes":
                value.bytes_value = pick([b"", b"a", b"\xff", b"a\0"])
            case "time":
                value.timestamp_value.seconds = pick([0, 1, -1, 10**9])
            case "geo":
                value.geo_point_value.latitude = pick([1, -1, 1.5])
            case "array":
                value.array_value.SetInParent()
                if depth < 2:
                    items = [self.value(depth + 1) for _ in range(self.random.randrange(3))]
                    value.array_value.values.extend(i for i in items if not i.HasField("array_value"))
            case _:
                value.map_value.SetInParent()
                if depth < 2:
                    for key in self.random.sample(["x", "y"], self.random.randrange(3)):
                        value.map_value.fields[key].CopyFrom(self.value(depth + 1))
        return value

    def write(self, root: str) -> Any:
        write = p.Write()
        write.update.name = f"{root}/documents/{self.random.choice(['c', 'p/1/c'])}/{self.random.choice('ABCDEFGHIJ')}"
        chance = self.random.random()
        if chance < 0.1:
            name = write.update.name
            write.delete = name
        else:
            for key in self.random.sample(["a", "b", "m", "tags", "k"], 4):
                write.update.fields[key].CopyFrom(self.value())
            if self.random.random() < 0.7:
                write.update.fields["m"].map_value.fields["x"].CopyFrom(self.value(1))
        if 0.1 < chance < 0.4:
            write.update_mask.field_paths.extend(self.random.sample(["a", "m.x", "m", "tags", "zz"], 2)[:1])
            for _ in range(self.random.randrange(3)):
                self.transform(write)
        if self.random.random() < 0.3:
            write.current_document.exists = self.random.random() < 0.5
        return write

    def transform(self, write: Any) -> None:
        transform = write.update_transforms.add(field_path=self.random.choice(["a", "b", "m.x", "tags"]))
        kind = self.random.choice(
            ["increment", "maximum", "minimum", "append_missing_elements", "remove_all_from_array"]
        )
        number = p.Value(integer_value=self.random.choice([1, -1, 2**63 - 1]))
        if self.random.random() < 0.4:
            number = p.Value(double_value=self.random.choice([0.5, 1.0, -0.0, math.nan]))
        if kind in ("increment", "maximum", "minimum"):
            getattr(transform, kind).CopyFrom(number)
        else:
            items = [self.value(1) for _ in range(3)]
            getattr(transform, kind).values.extend(i for i in items if not i.HasField("array_value"))

    def filter(self, node: Any, depth: int = 0) -> None:
        chance = self.random.random()
        if depth < 2 and chance < 0.45:
            node.composite_filter.op = self.random.choice([1, 1, 2])
            for _ in range(self.random.randrange(1, 3)):
                self.filter(node.composite_filter.filters.add(), depth + 1)
        elif chance < 0.55:
            node.unary_filter.field.field_path = self.random.choice(FIELDS)
            node.unary_filter.op = self.random.choice([2, 3, 4, 5])
        else:
            self.field_filter(node.field_filter)

    def field_filter(self, node: Any) -> None:
        op = self.random.choice([*OPERATORS, "EQUAL", "IN", "NOT_IN", "ARRAY_CONTAINS", "ARRAY_CONTAINS_ANY"])
        node.field.field_path = "tags" if op.startswith("ARRAY") else self.random.choice(FIELDS)
        node.op = p.StructuredQuery.FieldFilter.Operator.Value(op)
        if op == "ARRAY_CONTAINS":
            node.value.integer_value = self.random.randrange(4)
        elif op in ("IN", "NOT_IN", "ARRAY_CONTAINS_ANY"):
            node.value.array_value.values.extend(self.value(1) for _ in range(self.random.randrange(1, 4)))
        else:
            node.value.CopyFrom(self.value(1))

    def query(self) -> Any:
        query = p.StructuredQuery()
        query.from_.add(collection_id="c", all_descendants=self.random.random() < 0.3)
        if self.random.random() < 0.8:
            self.filter(query.where)
        for path in self.random.sample(FIELDS, self.random.choice([0, 0, 1, 1, 2])):
            query.order_by.add(direction=self.random.choice([1, 2])).field.field_path = path
        for cursor in (query.start_at, query.end_at):
            if query.order_by and self.random.random() < 0.3:
                cursor.values.extend(self.value(1) for _ in range(self.random.randrange(1, len(query.order_by) + 1)))
                cursor.before = self.random.random() < 0.5
        if self.random.random() < 0.4:
            query.limit.value = self.random.randrange(1, 6)
            query.offset = self.random.choice([0, 0, 1, 3])
        if self.random.random() < 0.2:
            query.select.fields.add(field_path=self.random.choice(FIELDS))
        return query


def results(answer: Any) -> Any:
    """What a commit answers, without times."""
    if isinstance(answer, str):
        return answer
    return [[encode(value) for value in result.transform_results] for result in answer.write_results]


@pytest.mark.parametrize("round_number", range(ROUNDS))
def test_the_same_answers(address: str, official_host: str, project: str, round_number: int) -> None:
    maker = Maker(int(os.environ.get("JIGA_EMULATOR_SEED", "20261121")) + round_number)
    ours, theirs = Side(address, project), Side(official_host, project)
    for _ in range(40):
        write = maker.write("DATABASE")
        answers = []
        for side in (ours, theirs):
            mine = p.Write.FromString(write.SerializeToString())
            if mine.WhichOneof("operation") == "delete":
                mine.delete = mine.delete.replace("DATABASE", side.database)
            else:
                mine.update.name = mine.update.name.replace("DATABASE", side.database)
            answers.append(results(side.commit(mine)))
        assert answers[0] == answers[1], f"differ on the write\n{write}"
    everything = p.StructuredQuery()
    everything.from_.add(collection_id="c", all_descendants=True)
    assert ours.query(everything) == theirs.query(everything)
    for _ in range(QUERIES):
        query = maker.query()
        mine, reference = ours.query(query), theirs.query(query)
        assert mine == reference, f"differ on the query\n{query}"
        if maker.random.random() < 0.3:
            assert ours.aggregate(query) == theirs.aggregate(query), f"differ on the aggregation over\n{query}"


def test_update_times_move_alike(address: str, official_host: str, project: str) -> None:
    """A write without effect keeps the update time; any other moves it."""
    patterns = []
    for side in (Side(address, project), Side(official_host, project)):
        name = f"{side.database}/documents/c/a"
        times = []
        for value in (1, 1, 2, 2.0, 2.0):
            write = p.Write()
            write.update.name = name
            field = write.update.fields["n"]
            if isinstance(value, float):
                field.double_value = value
            else:
                field.integer_value = value
            times.append(p.to_micros(side.commit(write).write_results[0].update_time))
            time.sleep(0.002)
        stale = p.Write(delete=name)
        p.set_micros(stale.current_document.update_time, times[0])
        ahead = p.Write(delete=name)
        p.set_micros(ahead.current_document.update_time, times[-1] + 10_000_000)
        gone = p.Write(delete=name + "x")
        p.set_micros(gone.current_document.update_time, times[-1])
        steps = [later > earlier for earlier, later in itertools.pairwise(times)]
        patterns.append([steps, side.commit(stale), side.commit(ahead), side.commit(gone)])
    assert patterns[0] == patterns[1]
    assert patterns[0] == [[False, True, True, False], "FAILED_PRECONDITION", "INVALID_ARGUMENT", "FAILED_PRECONDITION"]
