"""The templates, and how they become answers."""

from __future__ import annotations

from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse

from api_gateway.panel import admin_view
from api_gateway.panel.assets import asset_url
from api_gateway.panel.collection_names import collection_name
from api_gateway.panel.job_view import day, duration, megabytes, moment

_ENVIRONMENT: Final = Environment(
    loader=PackageLoader("api_gateway.panel"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.globals["asset"] = asset_url
_ENVIRONMENT.filters["moment"] = moment
_ENVIRONMENT.filters["day"] = day
_ENVIRONMENT.filters["collection_name"] = collection_name
_ENVIRONMENT.filters["megabytes"] = megabytes
_ENVIRONMENT.filters["duration"] = duration
for _say in (admin_view.count, admin_view.rate, admin_view.size, admin_view.ago, admin_view.until, admin_view.figures):
    _ENVIRONMENT.filters[_say.__name__] = _say


def render(template: str, **values: Any) -> str:
    """The HTML of a template. Values are escaped; one that is missing raises."""
    return _ENVIRONMENT.get_template(template).render(values)


def page(template: str, status: int = 200, headers: dict[str, str] | None = None, **values: Any) -> HTMLResponse:
    """A template as an answer."""
    return HTMLResponse(render(template, **values), status, headers)
