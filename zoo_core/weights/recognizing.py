"""Decide what a checkpoint holds: which network of it is imported, and by which importer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from zoo_core.errors import InputError, WeightsError, ZooError, first_few
from zoo_core.filesystem import quoted
from zoo_core.plugins.loading import Plugins
from zoo_core.spec import ImporterSpec, ModelSpec, Recognized
from zoo_core.weights.finding import Network

LISTING = "zoo import --list"
AVERAGES = ("g_ema", "params_ema", "ema", "avgg", "netg_ema")  # last keys, in lower case


class Candidate(NamedTuple):
    """A network of a checkpoint, and what an importer takes it for."""

    network: Network
    importer: ImporterSpec
    recognized: Recognized

    @property
    def is_average(self) -> bool:
        """Whether it is the average of a network that is in the file, too."""
        return self.network.place.lower().rpartition(".")[2] in AVERAGES

    def __str__(self) -> str:
        spec, what = self.importer, self.recognized
        code = "/".join(spec.source.split("/")[-2:])
        place = f", in {self.network.place}" if self.network.place else ""
        name = spec.model if spec.model == what.role else f"{spec.model} {what.role}"
        return f"{name}, {what.summary} ({code}){place}"


@dataclass
class Choice:
    """What is imported from a checkpoint."""

    spec: ModelSpec
    main: Candidate
    discriminator: Candidate | None = None
    notes: list[str] = field(default_factory=list)  # what is not imported


def choose(
    networks: Iterable[Network], name: str, model: str | None, part: str | None, plugins: Plugins
) -> Choice:
    """Choose the main network of a checkpoint called `name`, and its discriminator if it has one.

    An average of weights is preferred to the weights. `model` limits the importers, `part` the
    networks. Raises WeightsError if no importer knows a network or one has an unknown option,
    InputError if there are several to choose from.
    """
    found, refusals = _recognize(networks, name, _importers(model, plugins))
    roles = [plugins.models.get(each.importer.model).role for each in found]
    pairs = zip(found, roles, strict=True)
    mains = [each for each, role in pairs if each.recognized.role == role]
    if not mains and refusals:
        raise _refusal(name, refusals)
    if not mains:
        what = f"{name} holds no {roles[0]}"
        raise WeightsError(what, given=first_few(map(str, found), "; "))
    main = _only(_of_part(mains, part), name)
    others = [
        each
        for each in found
        if each.importer is main.importer and each.recognized.role == "discriminator"
    ]
    choice = Choice(plugins.models.get(main.importer.model), main)
    choice.notes += [f"not imported: {refusal}" for refusal in refusals]
    if len(others) == 1:
        choice.discriminator = others[0]
    elif others:
        choice.notes.append(f"not imported: {len(others)} discriminators, of which one is needed")
    return choice


def _importers(model: str | None, plugins: Plugins) -> list[ImporterSpec]:
    importers = [contribution.spec for contribution in plugins.importers]
    if model is None:
        return importers
    wanted = plugins.models.get(model).name
    chosen = [each for each in importers if each.model == wanted]
    if not chosen:
        known = ", ".join(sorted({each.model for each in importers}))
        raise InputError(f"no checkpoints of {wanted} can be imported", allowed=known, hint=LISTING)
    return chosen


def _recognize(
    networks: Iterable[Network], name: str, importers: Sequence[ImporterSpec]
) -> tuple[list[Candidate], list[ZooError]]:
    """All candidates, and why others are none. The parts of an unknown network are tried, too."""
    found: list[Candidate] = []
    refusals: list[ZooError] = []
    networks = [network for network in networks if network.tensors]
    for network in networks:
        known = _candidates(network, importers, refusals)
        if not known and not network.attributes:
            known = [
                each for part in network.parts() for each in _candidates(part, importers, refusals)
            ]
        found += known
    if found:
        return found, refusals
    if refusals:
        raise _refusal(name, refusals)
    if not networks:
        raise WeightsError(f"{name} holds no tensors")
    names = first_few(max((each.tensors for each in networks), key=len, default={}))
    raise WeightsError(f"{name} is of no known family", given=names[:200], hint=LISTING)


def _refusal(name: str, refusals: Sequence[ZooError]) -> WeightsError:
    return WeightsError(f"{name} holds {refusals[0]}", hint=LISTING)


def _candidates(
    network: Network, importers: Sequence[ImporterSpec], refusals: list[ZooError]
) -> list[Candidate]:
    candidates = []
    for importer in importers:
        try:
            recognized = importer.recognize(network.found)
        except ZooError as error:
            refusals.append(error)
            continue
        except (LookupError, ValueError, TypeError, AttributeError, ArithmeticError):
            continue  # names like those of the family, but not its shapes
        if recognized is not None:
            candidates.append(Candidate(network, importer, recognized))
    return candidates


def _of_part(mains: list[Candidate], part: str | None) -> list[Candidate]:
    if part is None:
        averages = [each for each in mains if each.is_average]
        return averages or mains
    chosen = [each for each in mains if each.network.place == part]
    if not chosen:
        allowed = ", ".join(each.network.place or "''" for each in mains)
        raise InputError("no such part", given=part, allowed=allowed)
    return chosen


def _only(mains: list[Candidate], name: str) -> Candidate:
    if len(mains) == 1:
        return mains[0]
    models = sorted({each.importer.model for each in mains})
    hint = f"--model {models[0]}"
    if len(models) == 1:
        hint = f"--part {quoted(mains[0].network.place)}"
    raise InputError(
        f"{name} could be {len(mains)} things", given=first_few(map(str, mains), "; "), hint=hint
    )
