# One training on all datasets, by one process or several; then embedding, scattered over shards that are written into one
# directory. A job that was ended goes on where it stopped: what it has made so far is no output that Snakemake would remove.
rule train:
    input:
        expand("{out}/stages/ingest/{sample}.json", out=OUT, sample=SAMPLES),
    output:
        f"{OUT}/stages/train.json",
    log:
        f"{OUT}/logs/train.txt",
    conda:
        "../envs/invar.yaml"
    threads: config["train"]["threads"]
    resources:
        **TRAIN_RESOURCES,
        mem_mb=lambda wildcards, attempt: config["train"]["mem_mb"] * attempt,
        runtime=lambda wildcards, attempt: config["train"]["runtime"] * attempt,
    params:
        invar=config["invar"],
        launcher=(
            options(config["train"]["launcher"])
            if config["train"]["processes"] > 1
            else ""
        ),
        recipe=config["recipe"],
        data=DATA,
        run=f"{OUT}/run",
        settings=settings(config["train"]["set"]),
        stage=f"{OUT}/stages/train.jsonl",
    shell:
        "exec {params.launcher} {params.invar:q} train {params.recipe:q} {params.data} --out {params.run:q} {params.settings}"
        " --threads {threads} --json --log {params.stage:q} > {output} 2> {log}"


rule embed:
    input:
        f"{OUT}/stages/train.json",
    output:
        f"{OUT}/stages/embed/{{shard}}.json",
    log:
        f"{OUT}/logs/embed/{{shard}}.txt",
    conda:
        "../envs/invar.yaml"
    threads: config["embed"]["threads"]
    resources:
        mem_mb=lambda wildcards, attempt: config["embed"]["mem_mb"] * attempt,
        runtime=lambda wildcards, attempt: config["embed"]["runtime"] * attempt,
    params:
        invar=config["invar"],
        data=DATA,
        run=f"{OUT}/run",
        embeddings=f"{OUT}/embeddings",
        shards=SHARDS,
        options=options(config["embed"]["options"]),
        stage=lambda wildcards: f"{OUT}/stages/embed/{wildcards.shard}.jsonl",
    shell:
        "exec {params.invar:q} embed --model {params.run:q} {params.data} --out {params.embeddings:q}"
        " --shard {wildcards.shard}/{params.shards} {params.options}"
        " --threads {threads} --json --log {params.stage:q} > {output} 2> {log}"
