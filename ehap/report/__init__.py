"""The page of results: from records and tables to one HTML file."""

from ehap.report.material import Limit, Material, Plan
from ehap.report.page import page

__all__ = ["Limit", "Material", "Plan", "page"]
