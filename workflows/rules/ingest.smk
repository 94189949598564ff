# Scattered over samples: each becomes a dataset of its own, and training and embedding open all of them together.
rule ingest:
    input:
        lambda wildcards: files_of(wildcards.sample),
    output:
        f"{OUT}/stages/ingest/{{sample}}.json",
    log:
        f"{OUT}/logs/ingest/{{sample}}.txt",
    conda:
        "../envs/invar.yaml"
    threads: 2
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        invar=config["invar"],
        domain=DOMAIN,
        inputs=lambda wildcards: inputs_of(wildcards.sample),
        data=lambda wildcards: f"{OUT}/datasets/{wildcards.sample}",
        options=options(config["ingest"]),
        stage=lambda wildcards: f"{OUT}/stages/ingest/{wildcards.sample}.jsonl",
    shell:
        "exec {params.invar:q} ingest {params.domain} {params.inputs} --out {params.data:q} {params.options}"
        " --threads {threads} --json --log {params.stage:q} > {output} 2> {log}"
