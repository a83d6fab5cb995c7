"""What every section of the configuration is: frozen, and closed to keys that nobody knows."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
