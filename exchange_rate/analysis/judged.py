def judged_of(cells, content, metrics, rate):
    from shim import judge

    return judge(list(metrics), content["encoder"].n_unique(), content["path"].n_unique())
