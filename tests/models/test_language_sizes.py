"""Published sizes have as many parameters as the published weights, counted without making them."""

import pytest

from sensorium.models import bart, gpt2, gpt_neo, gptj, llama, mpt, opt, t5

COUNTS = {
    gpt2: {"small": 124_439_808, "medium": 354_823_168, "large": 774_030_080, "xl": 1_557_611_200},
    opt: {
        "125M": 125_239_296,
        "350M": 331_196_416,
        "1.3B": 1_315_758_080,
        "2.7B": 2_651_596_800,
        "6.7B": 6_658_473_984,
    },
    llama: {
        "7B": 6_738_415_616,
        "13B": 13_015_864_320,
        "33B": 32_528_943_616,
        "65B": 65_285_660_672,
        "3-8B": 8_030_261_248,
        "smollm2-135M": 134_515_008,
    },
    mpt: {"7B": 6_649_286_656},
    gpt_neo: {"125M": 125_198_592},
    gptj: {"6B": 6_050_882_784},
    t5: {
        "small": 60_506_624,
        "flan-small": 76_961_152,
        "flan-base": 247_577_856,
        "flan-xl": 2_849_757_184,
        "flan-xxl": 11_135_332_352,
    },
    bart: {"base": 139_420_416, "large": 406_291_456},
}


@pytest.mark.parametrize("module", COUNTS, ids=lambda module: module.__name__.split(".")[-1])
def test_sizes_have_their_parameters(module) -> None:
    found = {size: module.SIZES[size].parameters() for size in COUNTS[module]}
    assert found == COUNTS[module]
