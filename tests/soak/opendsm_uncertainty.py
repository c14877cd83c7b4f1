"""Runs in opendsm's own environment: hours of placebo days and of an event in, what opendsm makes of them out."""

import json
import math
import sys
import warnings

import pandas as pd
from opendsm.common.metrics import BaselineMetrics, ReportingMetrics

warnings.filterwarnings("ignore")
asked = json.load(sys.stdin)
placebo = BaselineMetrics(df=pd.DataFrame(asked["placebo"], dtype=float), num_model_params=1)
found = []
for event in asked["events"]:
    metrics = ReportingMetrics(
        baseline_metrics=placebo,
        reporting_df=pd.DataFrame(event, dtype=float),
        data_frequency="hourly",
        confidence_level=0.9,
        t_tail=1,
    )
    fsu = metrics.fsu
    found.append(
        {
            "savings": float(metrics.savings),
            "uncertainty": float(metrics.total_savings_uncertainty),
            "fsu": None if fsu is None or math.isnan(fsu) else float(fsu),
            "t": float(metrics.t_stat),
        }
    )
figures = {name: float(getattr(placebo, name)) for name in ("n", "n_prime", "cvrmse_adj")}
sys.stdout.write(json.dumps({**figures, "events": found}))
