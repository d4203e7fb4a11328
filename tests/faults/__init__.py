"""Every fault at every step of a mail's way, on a real server: tests/drills/faults.py does all.

with Machine("story") as machine:
    machine.found_as(template)
    machine.start()
    print(trial(machine, POINTS[0], FAULTS[0]))
"""
