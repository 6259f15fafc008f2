"""Data of the formats that conversion is measured with."""
