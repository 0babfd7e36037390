"""The last step of a detector as an ONNX graph: which boxes are detections (`boxes.postprocess.select`)."""

from typing import TYPE_CHECKING

from mbseg.boxes.postprocess import Selection

if TYPE_CHECKING:
    from onnx import ModelProto

# Boxes without a score above the threshold go first: what follows takes its time for each box and class.
GRAPH = """
<ir_version: 8, opset_import: ["": 18]>
suppression (float[1, all, 4] decoded_boxes, float[1, all, classes] probabilities)
    => (float[detections, 4] boxes, float[detections] scores, int64[detections] labels)
<float score_threshold = {{{score_threshold!r}}}, float iou_threshold = {{{iou_threshold!r}}}, float none = {{-1}},
 int64[1] candidates = {{{candidates}}}, int64[1] detections_at_most = {{{detections}}},
 int64[1] first = {{0}}, int64[1] one = {{1}}, int64[1] two = {{2}}, int64[1] last = {{-1}}, int64[1] end = {{{end}}}>
{{
    best = ReduceMax <keepdims = 0> (probabilities, two)
    passes = Greater (best, score_threshold)
    which = Squeeze (passes, first)
    some_boxes = Compress <axis = 1> (decoded_boxes, which)
    some_probabilities = Compress <axis = 1> (probabilities, which)
    class_scores = Transpose <perm = [0, 2, 1]> (some_probabilities)

    count = Shape <start = 2> (class_scores)
    ranks = Min (count, candidates)
    ranked, ranked_places = TopK <axis = 2> (class_scores, ranks)
    least = Slice (ranked, last, end, two)
    is_candidate = GreaterOrEqual (class_scores, least)
    candidate_scores = Where (is_candidate, class_scores, none)
    kept = NonMaxSuppression (some_boxes, candidate_scores, detections_at_most, iou_threshold, score_threshold)

    class_and_box = Slice (kept, one, end, one)
    scores_of_classes = Squeeze (class_scores, first)
    kept_scores = GatherND (scores_of_classes, class_and_box)
    kept_count = Shape (kept_scores)
    detected = Min (kept_count, detections_at_most)
    scores, order = TopK (kept_scores, detected)
    ordered = Gather (class_and_box, order)
    label_column, box_column = Split <axis = 1, num_outputs = 2> (ordered)
    labels = Squeeze (label_column, one)
    places = Squeeze (box_column, one)
    boxes_of_picture = Squeeze (some_boxes, first)
    boxes = Gather (boxes_of_picture, places)
}}
"""


def suppression(selection: Selection) -> "ModelProto":
    """`decoded_boxes` [1, n, 4] and `probabilities` [1, n, classes] -> `boxes`, `scores` and `labels` of detections."""
    from onnx import parser

    return parser.parse_model(
        GRAPH.format(
            score_threshold=selection.score_threshold,
            iou_threshold=selection.iou_threshold,
            candidates=selection.candidates,
            detections=selection.detections,
            end=2**31 - 1,
        )
    )
