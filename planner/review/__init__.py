"""What changed between plans, and whether it may: diffs, gates, waivers, committed plans.

Everything here reads Plans; nothing estimates.
"""
