import sys

sys.path.insert(0,"/tmp/report/dev")
from shim import judge


def judged_of(cells, content, metrics, rate):
    return judge(list(metrics), content["encoder"].n_unique(), content["path"].n_unique())
