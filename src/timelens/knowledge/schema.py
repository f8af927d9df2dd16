"""What a record of the knowledge base may say: one model a kind, closed vocabularies, every field explained.

These models are read when the data files are compiled (``python -m timelens.knowledge.build``) and in the tests; a user
of the library never imports them (nor pydantic). Three rules hold for all kinds:

- A field that is left out or empty is *unknown*. Nothing is estimated to fill a gap.
- ``id`` is the permanent handle: lower case, digits and hyphens. Other records point to it.
- A word that must come from a closed list (``kind``, ``stage`` ...) is checked letter by letter.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = [
    "Agent",
    "Amount",
    "Branch",
    "Code",
    "Component",
    "Dose",
    "Doubt",
    "Evidence",
    "Intervention",
    "Modality",
    "Photon",
    "Radionuclide",
    "Spectrum",
    "Target",
]

Slug = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
"""Lower case letters and digits, joined by single hyphens."""
NuclideId = Annotated[str, Field(pattern=r"^\d{1,3}m?[A-Z][a-z]?$")]
"""Mass number before the symbol: ``18F``, ``99mTc``. Stable nuclei seen by MRI (``1H``, ``19F``) too."""
Text = Annotated[str, Field(min_length=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]

Basis = Literal["article", "general", "public"]
"""``article``: the review article says it. ``general``: common knowledge of the field, no single source.
``public``: a public source that ``identifier`` (or ``source``) names."""
Species = Literal["human", "mouse", "rat", "rabbit", "pig", "dog", "non-human primate"]
Stage = Literal["in silico", "in vitro", "preclinical", "clinical", "not stated"]
"""The furthest that the agent has come: calculated, cells or tissue, animals, patients or volunteers."""
Level = Literal["in silico", "in vitro", "tissue", "animal", "human", "not stated"]
"""What one piece of evidence was seen in."""

ComponentKind = Literal[
    "cell type",
    "cell subset",
    "cell state",
    "cell product",
    "cell line",
    "cell group",
    "structure",
    "tissue",
    "molecule",
    "vesicle",
    "state",
    "process",
    "pathway",
    "signal",
    "therapy",
    "reporter",
]
TargetKind = Literal[
    "receptor",
    "integrin",
    "ligand",
    "cytokine",
    "chemokine",
    "chemokine receptor",
    "protease",
    "enzyme",
    "transporter",
    "antigen",
    "marker",
    "matrix protein",
    "protein",
    "reporter",
    "process",
    "property",
    "none",
]
"""``process`` and ``property`` are what an agent sees without a protein (hypoxia, low pH, perfusion)."""
Location = Literal[
    "cell membrane",
    "secreted",
    "extracellular matrix",
    "cytoplasm",
    "granule",
    "mitochondrion",
    "nucleus",
    "extracellular space",
    "blood",
]
AgentKind = Literal[
    "agent",
    "class",
    "implied",
    "labelled cell",
    "label",
    "reporter",
    "dye",
    "theranostic",
    "therapy",
    "comparator",
    "endogenous",
]
"""``class``: a family, not one substance. ``implied``: the text needs one but names none. ``label``: loads cells."""
VectorClass = Literal[
    "antibody",
    "antibody fragment",
    "minibody",
    "diabody",
    "nanobody",
    "affibody",
    "protein",
    "peptide",
    "peptide and small molecule",
    "small molecule",
    "ion",
    "dye",
    "polymer",
    "nanoparticle",
    "liposome",
    "microbubble",
    "cell",
    "reporter gene",
    "probe panel",
    "endogenous",
    "not stated",
]
LabelKind = Literal[
    "radionuclide",
    "fluorophore",
    "fluorescent protein",
    "luciferase",
    "iron oxide",
    "gadolinium",
    "manganese",
    "fluorine-19",
    "gold",
    "rare earth",
    "gas",
    "metal isotope tag",
    "oligonucleotide code",
    "Raman reporter",
    "absorber",
    "symporter",
    "none",
    "not stated",
]
MassClass = Literal["ion", "small", "peptide", "medium", "large", "particle", "cell"]
"""small: below 2 kDa; peptide: 0.5 to 10 kDa of amino acids; medium: 10 to 100 kDa (fragments, cytokines);
large: above 100 kDa (antibodies); particle; cell."""
PlasmaKinetics = Literal["minutes", "hours", "days", "stays in blood", "none"]
"""Half-life in plasma by order of magnitude. ``none``: never free in blood (a reporter gene, a tissue stain)."""
Excretion = Literal["renal", "hepatobiliary", "reticuloendothelial", "exhaled", "deiodination", "none"]
KineticModel = Literal[
    "suv",
    "uptake",
    "tumour to blood ratio",
    "reference tissue ratio",
    "one tissue",
    "two tissue irreversible",
    "two tissue reversible",
    "patlak",
    "logan",
    "simplified reference tissue",
    "antibody patlak",
    "tofts",
    "extended tofts",
    "gamma variate",
    "indicator dilution",
    "cell count",
    "time activity integral",
    "activation rate",
]


class Strict(BaseModel):
    """No field beyond those named, none changed later, texts without blanks around them."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class Doubt(Strict):
    """A place where the article and what is known differ; both are kept."""

    article_says: Text = Field(description="What the article says, in our words.")
    correct: Text = Field(description="What is correct, or what is known, as far as known.")
    source: str = Field("", description="Where that is known from: a public identifier, or 'general knowledge'.")


class Amount(Strict):
    """A value with its range and where it comes from."""

    typical: float | None = Field(None, description="Typical value.")
    low: float | None = Field(None, description="Lower end of the published range.")
    high: float | None = Field(None, description="Upper end of the published range.")
    unit: Text = Field(description="UCUM code: '{copies}/{cell}', 'nmol/L', 'mm', 'kDa'.")
    where: str = Field("", description="In which cell, tissue or condition.")
    source: Text = Field(description="DOI, PMID or another public identifier.")

    @model_validator(mode="after")
    def _ordered(self) -> Amount:
        given = [value for value in (self.low, self.typical, self.high) if value is not None]
        if not given or given != sorted(given):
            raise ValueError("an amount has low <= typical <= high, at least one of them given")
        return self


class Code(Strict):
    """A DICOM code."""

    value: Text = Field(description="Code Value (0008,0100).")
    scheme: Literal["SCT", "SRT", "DCM", "UMLS", "NCIt"] = Field(description="Coding Scheme Designator (0008,0102).")
    meaning: Text = Field(description="Code Meaning (0008,0104).")


class Record(Strict):
    """What all kinds have in common."""

    id: Slug = Field(description="Permanent handle; never changed once published.")
    name: Text = Field(description="The name to show.")
    synonyms: tuple[Text, ...] = Field((), description="Other names that mean exactly this record.")
    basis: Basis = Field("article", description="Why the record is here.")
    evidence: tuple[Slug, ...] = Field((), description="Rows of evidence.csv.")
    doubts: tuple[Doubt, ...] = Field((), description="Where the article is not to be followed.")
    identifiers: dict[str, str] = Field(
        default_factory=dict, description="Public identifiers: 'pubchem', 'unii', 'inn', 'nct', 'doi', 'uniprot' ..."
    )
    article_rows: tuple[str, ...] = Field((), description="Rows of the table drawn from the article: AG096, C024.")
    note: str = Field("", description="Anything a reader should know and no field says.")


class Component(Record):
    """A part of the tumour immune microenvironment: a cell, a structure, a molecule, a state."""

    kind: ComponentKind
    parent: Slug | None = Field(None, description="The component of which this is a subset, state or part.")
    role: str = Field("", description="What it does in the microenvironment, as the article says, in our words.")
    markers: tuple[Text, ...] = Field((), description="Phenotype: 'CD8+', 'CD206 high', as people write it.")
    targets: tuple[Slug, ...] = Field((), description="Targets that it carries or makes and that agents can see.")


class Target(Record):
    """What an agent binds, enters through, is cut by, or is trapped by."""

    kind: TargetKind
    symbols: tuple[Text, ...] = Field((), description="HGNC symbols; several for a complex (ITGAV, ITGB3).")
    hgnc: tuple[Annotated[str, Field(pattern=r"^HGNC:\d+$")], ...] = Field((), description="HGNC ids of the symbols.")
    location: tuple[Location, ...] = Field((), description="Where it sits.")
    components: tuple[Slug, ...] = Field((), description="Components that carry it.")
    copies_per_cell: tuple[Amount, ...] = Field((), description="Copies per cell with range, cell and source.")
    concentration: tuple[Amount, ...] = Field((), description="Concentration in tissue with range, tissue and source.")
    caution: str = Field("", description="What else carries it, shedding, internalisation: why a signal misleads.")


class Dose(Strict):
    """How the agent is given and when it is imaged, in one species."""

    species: Species
    activity_mbq: tuple[float, float] | None = Field(None, description="Injected activity in MBq, from and to.")
    mass_mg: tuple[float, float] | None = Field(None, description="Injected mass of the substance in mg.")
    window_h: tuple[float, float] | None = Field(None, description="Imaging window in hours after injection.")
    source: Text = Field(description="DOI, PMID, label text; or 'general knowledge'.")
    note: str = ""

    @model_validator(mode="after")
    def _ordered(self) -> Dose:
        for pair in (self.activity_mbq, self.mass_mg, self.window_h):
            if pair is not None and not 0 <= pair[0] <= pair[1]:
                raise ValueError(f"a range goes from a smaller to a larger number, not {pair}")
        return self


class Kinetics(Strict):
    """How a dynamic scan with this agent is analysed where nobody says otherwise."""

    regions: Text = Field(description="Model of regional curves, as the engine calls it: '2tcm_irreversible'.")
    maps: tuple[Text, ...] = Field((), description="Models of the maps: 'patlak'.")
    image_input: bool = Field(description="Whether a blood region of the image may stand for arterial samples.")
    reference: tuple[Text, ...] = Field((), description="Names of the reference region, the best first.")
    t_star_min: float | None = Field(None, ge=0, description="Start of the straight part of a plot, min.")
    metabolites: bool | None = Field(None, description="Whether plasma holds labelled metabolites; None: not known.")
    plasma_to_blood: float | None = Field(None, gt=0, description="Plasma over whole blood, where it is constant.")
    source: Text = Field(description="DOI, PMID; or the evidence of this base.")
    note: str = ""


class Agent(Record):
    """What is given, grown or stained so that a modality sees something.

    Which texts mean this record: ``name`` and every synonym; every entry of ``vectors`` together with one of
    ``nuclides``. Spelling is free (case, hyphens, brackets, blanks, Greek letters, the place of the mass number, the
    doubled element symbol), so '[89Zr]Zr-atezolizumab' as the name makes 'Zr-89 atezolizumab' known. A vector alone
    only makes the record a candidate; a short name that means the labelled agent ('FDG') belongs into ``synonyms``.
    """

    kind: AgentKind
    vectors: tuple[Text, ...] = Field((), description="Names of the molecule without its label: 'atezolizumab'.")
    chelators: tuple[Text, ...] = Field(
        (), description="Chelators or groups that people write or leave out for the same agent: 'DFO', 'Df'."
    )
    vector_class: VectorClass = "not stated"
    labels: tuple[LabelKind, ...] = Field((), description="What makes it visible.")
    label_text: str = Field("", description="The label in words: 'IRDye800CW', 'SPIO', 'AlF'.")
    nuclides: tuple[NuclideId, ...] = Field((), description="Nuclide of the label; several only for a class.")
    modalities: tuple[Slug, ...] = Field((), description="Modalities that see it.")
    targets: tuple[Slug, ...] = ()
    components: tuple[Slug, ...] = Field((), description="What it is used to see, not all that carries the target.")
    signal: str = Field("", description="What a strong signal means.")
    mass_class: MassClass | None = None
    mass_kda: float | None = Field(None, gt=0, description="Molecular mass in kDa, if published.")
    doses: tuple[Dose, ...] = ()
    binds: tuple[Species, ...] = Field((), description="Species whose target it is known to bind.")
    does_not_bind: tuple[Species, ...] = Field((), description="Species whose target it is known not to bind.")
    imaged_in: tuple[Species, ...] = Field((), description="Species in which images have been published.")
    excretion: tuple[Excretion, ...] = ()
    plasma_kinetics: PlasmaKinetics | None = None
    kinetic_models: tuple[KineticModel, ...] = Field((), description="Ways of quantifying that suit it.")
    kinetics: Kinetics | None = Field(None, description="What a dynamic scan gets by default.")
    normal_uptake: tuple[Text, ...] = Field((), description="Organs with normal uptake.")
    stage: Stage = "not stated"
    setting: str = Field("", description="Disease or model, as stated.")
    cautions: tuple[Text, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Agent:
        if both := set(self.binds) & set(self.does_not_bind):
            raise ValueError(f"cannot both bind and not bind: {sorted(both)}")
        if self.nuclides and not {"radionuclide", "fluorine-19", "none"} & set(self.labels):
            raise ValueError("an agent with a nuclide has the label 'radionuclide' (or 'fluorine-19')")
        if len(self.nuclides) > 1 and self.kind not in ("class", "implied", "labelled cell", "reporter", "theranostic"):
            raise ValueError("one substance has one nuclide; make a record for each")
        return self


class Branch(Strict):
    """One way in which a nuclide decays."""

    mode: Literal["beta-", "beta+", "electron capture", "isomeric transition", "alpha"]
    fraction: Fraction = Field(description="Share of decays.")
    uncertainty: float | None = Field(None, ge=0, description="Standard uncertainty of the share (one sigma).")
    daughter: NuclideId | None = None
    source: Text


class Spectrum(Strict):
    """Electrons, positrons or alphas per decay, with their energy."""

    kind: Literal["beta-", "beta+", "alpha"]
    per_decay: float = Field(ge=0, description="Particles per decay.")
    mean_kev: float | None = Field(None, gt=0, description="Mean energy over all branches, weighted by intensity.")
    max_kev: float | None = Field(None, gt=0, description="Largest endpoint energy with noticeable intensity.")
    source: Text


class Photon(Strict):
    """A gamma, annihilation or X-ray line."""

    energy_kev: float = Field(gt=0)
    per_decay: float = Field(gt=0, description="Photons per decay.")
    uncertainty: float | None = Field(None, ge=0, description="Standard uncertainty of photons per decay (one sigma).")
    kind: Literal["gamma", "annihilation", "x-ray"] = "gamma"
    source: Text


class Radionuclide(Strict):
    """A radionuclide with evaluated data."""

    id: NuclideId
    name: Text = Field(description="zirconium-89")
    synonyms: tuple[Text, ...] = ()
    element: Text
    z: int = Field(gt=0)
    a: int = Field(gt=0)
    half_life_s: float = Field(gt=0)
    half_life_uncertainty_s: float | None = Field(None, gt=0, description="Standard uncertainty (one sigma).")
    half_life_as_published: Text = Field(description="Value, unit and uncertainty as the evaluation writes it.")
    half_life_source: Text
    branches: tuple[Branch, ...]
    spectra: tuple[Spectrum, ...] = ()
    photons: tuple[Photon, ...] = ()
    uses: tuple[Slug, ...] = Field((), description="Modalities that see it.")
    note: str = ""


class Modality(Record):
    """A way of seeing."""

    family: Literal[
        "nuclear", "magnetic", "optical", "acoustic", "x-ray", "tissue", "magnetic particle", "thermal", "hybrid"
    ]
    parts: tuple[Slug, ...] = Field((), description="For a hybrid: the modalities of which it consists.")
    dicom: tuple[str, ...] = Field((), description="DICOM Modality (0008,0060) values: PT, NM, MR.")
    signal: str = Field("", description="What is measured physically.")
    quantities: tuple[Text, ...] = Field((), description="Names of the vocabulary of quantities.")
    resolution: tuple[Amount, ...] = Field((), description="Spatial resolution (mm).")
    depth: tuple[Amount, ...] = Field((), description="Depth that can be seen (mm).")
    in_vivo: bool = True
    in_humans: bool | None = None
    ionising: bool | None = None


class Intervention(Record):
    """A therapy that the article names, and what imaging does for it."""

    kind: Literal[
        "checkpoint inhibitor",
        "cell therapy",
        "vaccine",
        "radiotherapy",
        "radioligand therapy",
        "chemotherapy",
        "targeted therapy",
        "cytokine",
        "physical therapy",
        "nanomedicine",
        "surgery",
        "combination",
        "other",
    ]
    targets: tuple[Slug, ...] = ()
    components: tuple[Slug, ...] = ()
    agents: tuple[Slug, ...] = Field((), description="Agents that follow it or are it.")
    imaging: str = Field("", description="What imaging does for it.")


class Evidence(Strict):
    """One thing that was shown, and where. One row of evidence.csv."""

    id: Slug
    basis: Basis
    citation: tuple[int, ...] = Field((), description="Citation numbers of the article; empty if it cites nobody.")
    section: str = Field("", description="Section of the article: 3.1.4. Several with '; '.")
    identifier: str = Field("", description="Public identifier: doi:..., pmid:..., NCT..., or empty.")
    level: Level = "not stated"
    species: tuple[Species, ...] = ()
    shown: Text = Field(description="What was shown, in one sentence of our own.")

    @model_validator(mode="after")
    def _sourced(self) -> Evidence:
        if self.basis == "article" and not self.section:
            raise ValueError("evidence from the article names its section")
        if self.basis == "public" and not self.identifier:
            raise ValueError("public evidence names its identifier")
        return self
