"""Which addresses the API may listen on: whoever can reach it without a key can use it."""

import ipaddress

from sqlalchemy.exc import SQLAlchemyError

from latentfarm.database import connect
from latentfarm.errors import LatentfarmError
from latentfarm.key_ring import KeyRing
from latentfarm.repository.facade import Repository
from latentfarm.settings import Settings

_MAKE_ONE = "`latentfarm keys create --name operator --scope admin`"


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine reaches what listens there. A name may lead anywhere, so it does not count."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_binding(settings: Settings) -> None:
    """Lets an API that others reach start only where keys decide who may use it.

    Raises:
        LatentfarmError: there is no usable key with the scope admin, and keys are not required either; or nobody can
            tell.
    """
    if is_loopback(settings.api_host) or settings.require_keys:
        return
    where = f"LATENTFARM_API_HOST={settings.api_host}: others than this machine would reach the API"
    engine = connect(settings.database_url, pool=1, application="latentfarm api")
    try:
        found = KeyRing(Repository(engine)).has_admin()
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise LatentfarmError(
            f"{where}, and whether there is a key for them cannot be seen: {reason}"
        ) from error
    finally:
        engine.dispose()
    if not found:
        raise LatentfarmError(
            f"{where}, and no usable key has the scope admin; make one: {_MAKE_ONE}, or set LATENTFARM_REQUIRE_KEYS=true"
        )
