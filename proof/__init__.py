"""The convergence proof: random histories in two regions at once, with faults, then the checks.

python -m proof --mode native --seeds 20
python -m proof --mode pglogical --seed 17        replay one

And death at every step: merge, undo and diff with a fault in them, run again, each proved.

python -m proof.death --mode native --steps 20
"""
