"""The form every record has: immutable, versioned, written whole, read with one clear error."""

import json
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from compress.errors import InputError


class Part(BaseModel):
    """The parent of what records are made of: immutable, and made without unknown keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True
    )


class Environment(Part):
    """The machine and the versions behind a number.

    Attributes:
        cpu: The processor's model name.
        instruction_sets: Those that decide the speed of inference, sorted ("avx2", "avx512_vnni").
        cores: Logical cores this process may use.
        accelerator: Name of the CUDA device used; of a bench with a provider for such, the names of
            all that are there; else None.
        system: Operating system and architecture ("Linux x86_64").
        python: Version of the interpreter.
        packages: Version of each package that takes part, by distribution name.
    """

    cpu: str
    instruction_sets: tuple[str, ...]
    cores: int
    accelerator: str | None = None
    system: str
    python: str
    packages: dict[str, str]


class Document(Part):
    """A record that is a file or a JSON document of its own.

    Attributes:
        schema_version: Written as `schema`; a subclass raises its `newest_schema` when a field
            changes its meaning, is renamed or removed. Adding a field with a default does not
            count: readers pass over fields they do not know.
    """

    newest_schema: ClassVar[int] = 1

    schema_version: int = Field(default=1, alias="schema")

    def to_json(self) -> str:
        """The document as indented JSON, ending in a newline; what is not a number is null."""
        return self.model_dump_json(indent=2) + "\n"

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a document.

        Raises:
            InputError: Missing, not JSON, of another schema, or not this kind of document.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise InputError(f"{path} does not exist") from error
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}") from error
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"{path} is not JSON: {error}") from error
        return cls.from_data(data, source=str(path))

    @classmethod
    def from_data(cls, data: Any, *, source: str) -> Self:
        """Check parsed JSON.

        Args:
            data: What `json.loads` returned.
            source: Where it came from, for messages.

        Raises:
            InputError: Of another schema, or not this kind of document.
        """
        schema = data.get("schema") if isinstance(data, dict) else None
        if schema != cls.newest_schema:
            raise InputError(
                f"{source} has schema {schema}, this version reads {cls.newest_schema}",
                hint="make it again with this version",
            )
        try:
            return cls.model_validate(data, extra="ignore")
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise InputError(f"{source} is no {cls.__name__}: {place}: {first['msg']}") from error
