# Where the configuration has labels: the trained model learns them, and says those of all samples. A fine-tuning that was ended goes
# on where it stopped, as a training does.
rule finetune:
    input:
        trained=f"{OUT}/stages/train.json",
        table=config["labels"]["table"],
    output:
        f"{OUT}/stages/finetune.json",
    log:
        f"{OUT}/logs/finetune.txt",
    conda:
        "../envs/invar.yaml"
    threads: config["labels"]["threads"]
    resources:
        **gpus(config["labels"]["gpus"]),
        mem_mb=lambda wildcards, attempt: config["labels"]["mem_mb"] * attempt,
        runtime=lambda wildcards, attempt: config["labels"]["runtime"] * attempt,
    params:
        invar=config["invar"],
        recipe=config["labels"]["recipe"],
        data=DATA,
        run=f"{OUT}/run",
        tuned=f"{OUT}/tuned",
        settings=settings(config["labels"]["set"]),
        options=options(config["labels"]["options"]),
        stage=f"{OUT}/stages/finetune.jsonl",
    shell:
        "exec {params.invar:q} finetune {params.recipe:q} --model {params.run:q} {params.data} --labels {input.table:q}"
        " --out {params.tuned:q} {params.settings} {params.options} --threads {threads} --json --log {params.stage:q}"
        " > {output} 2> {log}"


# What it takes for what, of the samples that were held out: empty where there were too few labels for that.
rule held_out:
    input:
        f"{OUT}/stages/finetune.json",
    output:
        report(directory(f"{OUT}/held_out"), patterns=["{name}.svg"], category="Labels"),
    log:
        f"{OUT}/logs/held_out.txt",
    localrule: True
    conda:
        "../envs/invar.yaml"
    params:
        picture=f"{OUT}/tuned/confusion.svg",
    shell:
        "(mkdir {output:q} && if test -f {params.picture:q}; then cp {params.picture:q} {output:q}; fi) > {log} 2>&1"


rule predict:
    input:
        tuned=f"{OUT}/stages/finetune.json",
        truth=TRUTH,
    output:
        table=f"{OUT}/predictions.parquet",
        summary=f"{OUT}/predictions.json",
        confusion=report(f"{OUT}/confusion.svg", category="Labels") if TRUTH else [],
    log:
        f"{OUT}/logs/predict.txt",
    conda:
        "../envs/invar.yaml"
    threads: config["predict"]["threads"]
    resources:
        mem_mb=lambda wildcards, attempt: config["predict"]["mem_mb"] * attempt,
        runtime=lambda wildcards, attempt: config["predict"]["runtime"] * attempt,
    params:
        invar=config["invar"],
        data=DATA,
        tuned=f"{OUT}/tuned",
        measured=(
            options(["--labels", *TRUTH, "--confusion", f"{OUT}/confusion.svg"])
            if TRUTH
            else ""
        ),
        options=options(config["predict"]["options"]),
        stage=f"{OUT}/stages/predict.jsonl",
    shell:
        "exec {params.invar:q} predict --model {params.tuned:q} {params.data} --out {output.table:q} {params.measured}"
        " {params.options} --threads {threads} --json --log {params.stage:q} > {output.summary:q} 2> {log}"
