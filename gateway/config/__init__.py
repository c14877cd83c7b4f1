"""Typed settings: one TOML file, environment over it, secret files under both."""

from gateway.config.agents import AgentSettings, AgentsSettings
from gateway.config.connections import Ven2bSettings, Ven3Settings, Vtn2bSettings, Vtn3Settings
from gateway.config.devices import NvmlSettings, SimulatedSettings
from gateway.config.evidence import EvidenceSettings
from gateway.config.jobs import ProcessJobSettings, ProcessSettings, SlurmSettings, TermsSettings
from gateway.config.meters import MeterSettings, ModbusSettings, PrometheusSettings, RegisterSettings
from gateway.config.settings import ConfigError, FleetSettings, Settings, load_config, settings_from
from gateway.config.site import GENERATOR_METER_ID, SITE_METER_ID, OverheadSettings, SiteSettings
from gateway.config.sites import SitesSettings

__all__ = [
    "GENERATOR_METER_ID",
    "SITE_METER_ID",
    "AgentSettings",
    "AgentsSettings",
    "ConfigError",
    "EvidenceSettings",
    "FleetSettings",
    "MeterSettings",
    "ModbusSettings",
    "NvmlSettings",
    "OverheadSettings",
    "ProcessJobSettings",
    "ProcessSettings",
    "PrometheusSettings",
    "RegisterSettings",
    "Settings",
    "SimulatedSettings",
    "SiteSettings",
    "SitesSettings",
    "SlurmSettings",
    "TermsSettings",
    "Ven2bSettings",
    "Ven3Settings",
    "Vtn2bSettings",
    "Vtn3Settings",
    "load_config",
    "settings_from",
]
