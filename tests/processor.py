"""What a test needs of the processor."""

import pytest
import torch

needs_bfloat16 = pytest.mark.skipif(
    not torch.cpu._is_avx512_bf16_supported(), reason="this processor imitates bfloat16, which takes a network minutes"
)
