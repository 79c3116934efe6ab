"""What ``make kernels`` reads in the machine code: whether registers are spilled within a loop."""

import pytest
from tools.sass import spills_in_loops

BEFORE, LOAD, STORE = "STL [R1], R5", "LDL R5, [R1]", "STL.64 [R1+0x8], R6"


def kernel(before="", inside="", behind=""):
    """Two numbers are added up in a loop, as ptxas has it for sm_90, with an instruction more."""
    lines = [
        "\t--:-:0:-:8\tLDC R1, c[0x0][0x28];",
        f"\t--:-:-:-:1\t{before};",
        "\t--:-:-:-:5\t@P0 BRA LBB1;",
        "LBB0:",
        "\t--:-:2:-:1\tLDG.E.64 R8, desc[UR20][R8.64];",
        f"\t--:-:-:-:1\t{inside};",
        "\t04:-:-:-:5\t@!P0 BRA LBB0;",
        "LBB1:",
        f"\t--:-:-:-:1\t{behind};",
        "\t--:-:-:-:5\tEXIT;",
        "LBB2:",
        "\t--:-:-:Y:0\tBRA LBB2;",
    ]
    return "\n".join(lines)


def test_what_is_put_aside_before_a_loop_and_taken_back_behind_it_is_in_none():
    assert spills_in_loops(kernel()) == 0
    assert spills_in_loops(kernel(before=BEFORE, behind=LOAD)) == 0


@pytest.mark.parametrize("spill", [LOAD, STORE])
def test_what_is_moved_in_every_round_is_counted(spill):
    assert spills_in_loops(kernel(before=BEFORE, inside=spill, behind=LOAD)) == 1


def test_a_jump_ahead_makes_no_loop():
    assert spills_in_loops(kernel(before=BEFORE).replace("@!P0 BRA LBB0", f"@!P0 BRA LBB1;\n\t--\t{LOAD}")) == 0
