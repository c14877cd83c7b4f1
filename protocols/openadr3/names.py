"""Words of OpenADR 3 that several modules need."""

from enum import StrEnum


class Version(StrEnum):
    """Two versions that do not understand each other. It cannot be told from the definition's own version field."""

    V3_0 = "3.0.1"
    V3_1 = "3.1"


AGGREGATED_REPORT = "AGGREGATED_REPORT"
"""The resource name of data that is the sum over several resources."""

DATA_QUALITY = "DATA_QUALITY"
"""The payload type that says how good the values beside it are."""

OPERATING_STATE = "OPERATING_STATE"
"""The payload type that says how a resource stands: following an event, opted out, at fault."""

OPERATIONS = ("READ", "CREATE", "UPDATE", "DELETE")
HTTP_VERBS = {"READ": "GET", "CREATE": "POST", "UPDATE": "PUT", "DELETE": "DELETE"}
"""What 3.0 calls the operations in a notification."""

REPORT_PAYLOAD_TYPES = frozenset(
    {
        "READING",
        "USAGE",
        "DEMAND",
        "SETPOINT",
        "DELTA_USAGE",
        "BASELINE",
        OPERATING_STATE,
        "UP_REGULATION_AVAILABLE",
        "DOWN_REGULATION_AVAILABLE",
        "REGULATION_SETPOINT",
        "STORAGE_USABLE_CAPACITY",
        "STORAGE_CHARGE_LEVEL",
        "STORAGE_MAX_DISCHARGE_POWER",
        "STORAGE_MAX_CHARGE_POWER",
        "SIMPLE_LEVEL",
        "USAGE_FORECAST",
        "STORAGE_DISPATCH_FORECAST",
        "LOAD_SHED_DELTA_AVAILABLE",
        "GENERATION_DELTA_AVAILABLE",
        DATA_QUALITY,
        "IMPORT_RESERVATION_CAPACITY",
        "IMPORT_RESERVATION_FEE",
        "EXPORT_RESERVATION_CAPACITY",
        "EXPORT_RESERVATION_FEE",
    }
)
"""Payload types that only reports have."""
