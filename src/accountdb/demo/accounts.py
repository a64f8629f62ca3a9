"""Varied accounts for the load: Latin and Chinese names, JSONB groups. Pure and seeded."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_FAMILY = ("王", "李", "张", "刘", "陈", "欧阳", "Müller", "García", "Smith", "Nguyễn", "O'Brien", "Łukasiewicz")
_GIVEN = ("伟", "秀英", "晓明", "丽华", "Ana", "Jürgen", "Zoë", "Tom", "Siân", "佳怡", "Noël", "D'Arcy")
_GROUPS = ("staff", "beta", "客服", "ops", "财务", "partner")
_PLANS = ("free", "pro", "团队版", "enterprise")
_PROVIDERS = ("github", "google", "wechat", "微信", "apple")


@dataclass(frozen=True)
class Account:
    """One account to register, with what hangs on it."""

    username: str
    email: str | None
    password: str
    level: int
    groups: tuple[str, ...]
    verified_at: datetime | None
    provider: str
    external_id: str
    token: str
    plan: str | None


class Accounts:
    """An endless, seeded supply of accounts of one region; no two of all regions claim one value."""

    def __init__(self, region: str, seed: int) -> None:
        """``region`` makes usernames, emails, tokens and external ids unique among regions."""
        self._region = region
        self._random = random.Random(f"{region}/{seed}")
        self._count = 0

    def next(self) -> Account:
        """One more account."""
        rng = self._random
        self._count += 1
        tag = f"{self._region}{self._count:06d}"
        family, given = rng.choice(_FAMILY), rng.choice(_GIVEN)
        has_email = rng.random() < 0.9
        return Account(
            username=f"{family}{given}.{tag}",
            email=f"{given}.{tag}@{rng.choice(('example.cn', 'Example.com', '例子.测试'))}" if has_email else None,
            password=f"$argon2id$demo${rng.getrandbits(128):032x}",
            level=rng.choice((10, 20, 20, 20, 50)),
            groups=tuple(rng.sample(_GROUPS, rng.randint(0, 3))),
            verified_at=datetime.now(UTC) - timedelta(days=rng.randint(0, 400)) if rng.random() < 0.6 else None,
            provider=rng.choice(_PROVIDERS),
            external_id=f"{tag}-{rng.getrandbits(64):016x}",
            token=f"{tag}.{rng.getrandbits(160):040x}",
            plan=rng.choice(_PLANS) if rng.random() < 0.4 else None,
        )
