"""The level of service that the site promises: measured in every process, kept in small rows, shown and judged.

``targets`` says what is promised, ``recorder`` measures, ``history`` reads, ``verdicts`` judges.
"""
