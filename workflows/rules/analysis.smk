# What is gathered from all shards.
rule cluster:
    input:
        expand("{out}/stages/embed/{shard}.json", out=OUT, shard=range(1, SHARDS + 1)),
    output:
        clusters=f"{OUT}/clusters.parquet",
        groups=report(f"{OUT}/clusters.tsv", category="Clusters"),
        plot=report(f"{OUT}/clusters.svg", category="Clusters"),
    log:
        f"{OUT}/logs/cluster.txt",
    conda:
        "../envs/invar.yaml"
    threads: config["cluster"]["threads"]
    resources:
        mem_mb=lambda wildcards, attempt: config["cluster"]["mem_mb"] * attempt,
        runtime=lambda wildcards, attempt: config["cluster"]["runtime"] * attempt,
    params:
        invar=config["invar"],
        embeddings=f"{OUT}/embeddings",
        min_bin=MIN_BIN,
        options=options(config["cluster"]["options"]),
        stage=f"{OUT}/stages/cluster.jsonl",
    shell:
        "exec {params.invar:q} cluster {params.embeddings:q} --out {output.clusters:q} --groups {output.groups:q}"
        " --plot {output.plot:q} {params.min_bin} {params.options} --threads {threads} --log {params.stage:q} > {log} 2>&1"


rule evaluate:
    input:
        f"{OUT}/clusters.parquet",
    output:
        f"{OUT}/evaluation.json",
    log:
        f"{OUT}/logs/evaluate.txt",
    conda:
        "../envs/invar.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: config["cluster"]["mem_mb"] * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        invar=config["invar"],
        embeddings=f"{OUT}/embeddings",
        options=options(config["evaluate"]["options"]),
        stage=f"{OUT}/stages/evaluate.jsonl",
    shell:
        "exec {params.invar:q} evaluate {params.embeddings:q} {params.options} --json --log {params.stage:q} > {output} 2> {log}"


rule gallery:
    input:
        f"{OUT}/clusters.parquet",
    output:
        report(f"{OUT}/gallery.png", category="Clusters"),
    log:
        f"{OUT}/logs/gallery.txt",
    conda:
        "../envs/invar.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        invar=config["invar"],
        data=DATA,
        stage=f"{OUT}/stages/gallery.jsonl",
    shell:
        "exec {params.invar:q} gallery {input:q} {params.data} --out {output:q} --log {params.stage:q} > {log} 2>&1"


# A FASTA for each genome, for the programs that judge them by their genes.
rule bins:
    input:
        f"{OUT}/clusters.parquet",
    output:
        directory(f"{OUT}/bins"),
    log:
        f"{OUT}/logs/bins.txt",
    conda:
        "../envs/invar.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        invar=config["invar"],
        data=DATA,
        min_bin=MIN_BIN,
        stage=f"{OUT}/stages/bins.jsonl",
    shell:
        "exec {params.invar:q} bins {input:q} {params.data} --out {output:q} {params.min_bin} --log {params.stage:q} > {log} 2>&1"


rule report:
    input:
        clusters=f"{OUT}/clusters.parquet",
        evaluation=f"{OUT}/evaluation.json",
    output:
        report(f"{OUT}/report.html", category="Report"),
    log:
        f"{OUT}/logs/report.txt",
    conda:
        "../envs/invar.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        invar=config["invar"],
        result=subpath(input.clusters, parent=True),
        stage=f"{OUT}/stages/report.jsonl",
    shell:
        "exec {params.invar:q} report {params.result:q} --out {output:q} --log {params.stage:q} > {log} 2>&1"


# What each job took, those before a retry too, for whoever plans the next run.
rule stages:
    input:
        f"{OUT}/report.html",
        f"{OUT}/bins" if DOMAIN == "contigs" else [],
        PREDICTIONS,
    output:
        report(f"{OUT}/stages.tsv", category="Report"),
    log:
        f"{OUT}/logs/stages.txt",
    localrule: True
    conda:
        "../envs/invar.yaml"
    script:
        "../scripts/stages.py"
