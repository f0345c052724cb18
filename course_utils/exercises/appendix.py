"""The quiz of appendix A, the same network in PyTorch and in Keras."""

from __future__ import annotations

from course_utils.exercises.quiz import Question, Quiz, right, wrong

quiz = Quiz(
    [
        Question(
            "You copy a dense layer behind `Flatten` from PyTorch to Keras: shapes fit after a transpose, yet the "
            "predictions differ. What is the most likely reason?",
            [
                wrong("Keras computes in float64", "Both compute in float32 unless told otherwise."),
                right(
                    "the two flatten their pictures in another order",
                    "PyTorch goes through channel, row, column, Keras through row, column, channel: the same numbers "
                    "arrive, but at other inputs. The columns of the weights must be put into the other order too.",
                ),
                wrong("dense layers cannot be copied", "They can: this appendix does it, and checks the predictions."),
            ],
        ),
        Question(
            "Your network is trained in PyTorch with `BatchNorm2d(momentum=0.1)`. Which `momentum` makes Keras's "
            "`BatchNormalization` move its running mean as fast?",
            [
                wrong("0.1", "In Keras that would keep a tenth of the old mean: nine times as fast."),
                right(
                    "0.9",
                    "PyTorch's number is the share of the *new* batch, Keras's the share of the *old* mean: 1 − 0.1.",
                ),
                wrong("0.99", "That is Keras's default, and moves ten times as slowly as PyTorch's default."),
            ],
        ),
    ]
)
