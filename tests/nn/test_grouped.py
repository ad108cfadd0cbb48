"""Causal attention of long texts in blocks of queries: what the plain kernel gives."""

import pytest
import torch

from sensorium.nn.grouped import BLOCK, LONG, Heads, attend


@pytest.mark.parametrize("groups", [1, 3, 6])
@pytest.mark.parametrize("length", [LONG, LONG + 1, 2 * LONG, 3 * BLOCK + 7])
def test_blocks_of_queries_give_what_all_at_once_give(groups: int, length: int) -> None:
    g = torch.Generator().manual_seed(length)
    q, k, v = (
        torch.randn((2, h, length, 8), generator=g, dtype=torch.float64)
        for h in (6, groups, groups)
    )
    scale = 0.3
    whole = [x.repeat_interleave(6 // groups, 1) for x in (k, v)]
    scores = (q @ whole[0].transpose(2, 3) * scale).masked_fill(
        torch.ones(length, length, dtype=torch.bool).triu(1), float("-inf")
    )
    want = scores.softmax(-1) @ whole[1]
    heads = Heads(6, groups, 8, scale)
    torch.testing.assert_close(attend(q, k, v, None, heads), want)
    taught = q.clone().requires_grad_()
    torch.testing.assert_close(attend(taught, k, v, None, heads), want)
    more = [torch.cat([x, x], 2) for x in (k, v)]  # slots behind the text
    torch.testing.assert_close(attend(q, more[0], more[1], None, heads), want)
