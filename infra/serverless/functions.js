// The functions, each with a role of its own, the queue, and what is watched. Schedules are
// those of the definitions in reporting_jobs/reports/; a test holds them against each other.

"use strict";

const RECEIVES = 5;
const SECONDS = 900;

// name: [schedule, memory in MB]
const REPORTS = {
  access_review: ["cron(0 6 1 * ? *)", 1024],
  audit_seal: ["cron(10 * * * ? *)", 1024],
  audit_verify: ["cron(30 1 * * ? *)", 1024],
  breach_notification: [null, 1024],
  chargeback_file: [null, 1024],
  pci_inventory: ["cron(0 4 1 * ? *)", 1024],
  retention_purge: ["cron(0 3 ? * SUN *)", 1024],
  sanctions_screening: ["cron(0 2 * * ? *)", 2048],
  subject_access: [null, 1024],
};

// Reports whose heavy runs are cut into parts, which their functions put on the queue.
const SPLIT = ["sanctions_screening"];
const QUEUE_URL = { STRONGROOM_REPORT_QUEUE_URL: { Ref: "ReportQueue" } };

const bucket = "${self:custom.bucket}";

const camel = (name) => name.replace(/(^|_)([a-z])/g, (_, __, letter) => letter.toUpperCase());
const hyphens = (name) => name.replace(/_/g, "-");
const sub = (text) => ({ "Fn::Sub": text });
const arn = (resource) => ({ "Fn::GetAtt": [resource, "Arn"] });
const allow = (actions, resources, more = {}) => ({
  Effect: "Allow",
  Action: actions,
  Resource: resources,
  ...more,
});

// What any job may do besides asking the vault, which its role has to prove who it is for
// and nothing more: GetCallerIdentity needs no permission. No job may open what it sealed,
// nor any key of the vault: there is no kms:Decrypt.
const statements = (logGroup, report) => [
  allow(["logs:CreateLogStream", "logs:PutLogEvents"], sub(`arn:\${AWS::Partition}:logs:\${AWS::Region}:\${AWS::AccountId}:log-group:${logGroup}:*`)),
  allow(
    ["s3:PutObject", "s3:PutObjectRetention", "s3:AbortMultipartUpload"],
    sub(`arn:\${AWS::Partition}:s3:::${bucket}/outputs/${report}/*`),
  ),
  allow("s3:ListBucketMultipartUploads", sub(`arn:\${AWS::Partition}:s3:::${bucket}`)),
  // Whether an attempt that was killed had published its output; what is in it, no job reads.
  allow("s3:ListBucket", sub(`arn:\${AWS::Partition}:s3:::${bucket}`), {
    Condition: { StringLike: { "s3:prefix": `outputs/${report}/*` } },
  }),
  allow("s3:GetObject", [
    sub(`arn:\${AWS::Partition}:s3:::${bucket}/recipients/*`),
    sub(`arn:\${AWS::Partition}:s3:::${bucket}/inputs/*`),
  ]),
  allow("kms:GenerateDataKey", "${self:custom.recipient}", {
    Condition: {
      StringEquals: { "kms:EncryptionContext:purpose": "strongroom/report-output" },
    },
  }),
  // Of network interfaces Lambda knows the names only when it has made them.
  allow(
    [
      "ec2:CreateNetworkInterface",
      "ec2:DeleteNetworkInterface",
      "ec2:DescribeNetworkInterfaces",
      "ec2:DescribeSubnets",
    ],
    "*",
  ),
];

const role = (name, policy, trusted) => ({
  Type: "AWS::IAM::Role",
  Properties: {
    RoleName: name,
    MaxSessionDuration: 3600,
    AssumeRolePolicyDocument: {
      Version: "2012-10-17",
      Statement: [
        { Effect: "Allow", Principal: { Service: "lambda.amazonaws.com" }, Action: "sts:AssumeRole" },
        ...trusted,
      ],
    },
    Policies: [
      { PolicyName: "report", PolicyDocument: { Version: "2012-10-17", Statement: policy } },
    ],
  },
});

const alarm = (description, namespace, metric, dimensions, more = {}) => ({
  Type: "AWS::CloudWatch::Alarm",
  Properties: {
    AlarmDescription: description,
    Namespace: namespace,
    MetricName: metric,
    Dimensions: dimensions,
    Statistic: "Sum",
    Period: 300,
    EvaluationPeriods: 1,
    Threshold: 0,
    ComparisonOperator: "GreaterThanThreshold",
    TreatMissingData: "notBreaching",
    AlarmActions: ["${self:custom.alarms}"],
    ...more,
  },
});

const queue = (name, days, more = {}) => ({
  Type: "AWS::SQS::Queue",
  Properties: {
    QueueName: name,
    MessageRetentionPeriod: days * 86400,
    SqsManagedSseEnabled: true,
    ...more,
  },
});

const onlyOverTls = (resource) => ({
  Type: "AWS::SQS::QueuePolicy",
  Properties: {
    Queues: [{ Ref: resource }],
    PolicyDocument: {
      Version: "2012-10-17",
      Statement: [
        {
          Effect: "Deny",
          Principal: "*",
          Action: "sqs:*",
          Resource: arn(resource),
          Condition: { Bool: { "aws:SecureTransport": "false" } },
        },
      ],
    },
  },
});

const failures = (logGroup) => ({
  Type: "AWS::Logs::MetricFilter",
  Properties: {
    LogGroupName: { Ref: logGroup },
    FilterPattern: '?report_run_failed ?report_order_refused',
    MetricTransformations: [
      { MetricName: "ReportFailures", MetricNamespace: "Strongroom", MetricValue: "1" },
    ],
  },
});

const functions = {};
const Resources = {
  ReportQueue: queue("${self:service}-${sls:stage}", 4, {
    // A message comes again when no process can still be at work on it.
    VisibilityTimeout: SECONDS + 60,
    RedrivePolicy: { deadLetterTargetArn: arn("ReportDeadLetters"), maxReceiveCount: RECEIVES },
  }),
  ReportDeadLetters: queue("${self:service}-${sls:stage}-dead", 14, {
    RedriveAllowPolicy: {
      redrivePermission: "byQueue",
      sourceQueueArns: [
        sub("arn:${AWS::Partition}:sqs:${AWS::Region}:${AWS::AccountId}:${self:service}-${sls:stage}"),
      ],
    },
  }),
  ReportQueuePolicy: onlyOverTls("ReportQueue"),
  ReportDeadLettersPolicy: onlyOverTls("ReportDeadLetters"),
  DeadLettersAlarm: alarm(
    "A work order was given up: look at it, then start the redrive.",
    "AWS/SQS",
    "ApproximateNumberOfMessagesVisible",
    [{ Name: "QueueName", Value: { "Fn::GetAtt": ["ReportDeadLetters", "QueueName"] } }],
    { Statistic: "Maximum" },
  ),
  ReportFailuresAlarm: alarm(
    "A report failed, or a work order was refused.",
    "Strongroom",
    "ReportFailures",
    [],
  ),
};

const add = (name, handler, memory, reports, more, extra) => {
  const id = camel(name);
  const fullName = "${self:service}-${sls:stage}-" + hyphens(name);
  functions[id] = {
    handler: `reporting_jobs.handlers.${handler}`,
    name: fullName,
    // Not Fn::GetAtt: osls would add a DependsOn, which that implies already.
    role: sub(`\${${id}Role.Arn}`),
    memorySize: memory,
    timeout: SECONDS,
    ...more,
  };
  const policy = [...statements(`/aws/lambda/${fullName}`, reports), ...extra.policy];
  Resources[`${id}Role`] = role(extra.role, policy, extra.trusted);
  Resources[`${id}ErrorsAlarm`] = alarm(
    `The function of ${name} fails or runs out of time.`,
    "AWS/Lambda",
    "Errors",
    [{ Name: "FunctionName", Value: fullName }],
  );
  Resources[`${id}Failures`] = failures(`${id}LogGroup`);
};

const worker = "strongroom-reports-queue-worker-${sls:stage}";

for (const [name, [schedule, memory]] of Object.entries(REPORTS)) {
  const events = schedule === null ? [] : [{ schedule: { rate: [schedule], enabled: true } }];
  const splits = SPLIT.includes(name);
  add(
    name,
    name,
    memory,
    name,
    {
      reservedConcurrency: 1,
      maximumRetryAttempts: 2,
      maximumEventAge: 21600,
      onError: arn("ReportDeadLetters"),
      ...(splits ? { environment: QUEUE_URL } : {}),
      events,
    },
    {
      role: `report-${hyphens(name)}`,
      policy: [
        allow(
          "sqs:SendMessage",
          splits ? [arn("ReportDeadLetters"), arn("ReportQueue")] : arn("ReportDeadLetters"),
        ),
      ],
      // The queue's worker takes this role on to ask the vault as this report's job.
      trusted: [
        { Effect: "Allow", Principal: { AWS: arn("QueueWorkerRole") }, Action: "sts:AssumeRole" },
      ],
    },
  );
}

add(
  "queue_worker",
  "queue_worker",
  1024,
  "*",
  {
    reservedConcurrency: 4,
    environment: {
      ...QUEUE_URL,
      STRONGROOM_REPORT_ROLE_ARN: sub(
        "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/report-{report}",
      ),
    },
    events: [
      {
        sqs: {
          arn: arn("ReportQueue"),
          batchSize: 1,
          functionResponseType: "ReportBatchItemFailures",
          maximumConcurrency: 4,
        },
      },
    ],
  },
  {
    role: worker,
    policy: [
      allow(
        [
          "sqs:ReceiveMessage",
          "sqs:DeleteMessage",
          "sqs:GetQueueAttributes",
          "sqs:SendMessage",
        ],
        arn("ReportQueue"),
      ),
      allow(
        "sts:AssumeRole",
        Object.keys(REPORTS).map((name) =>
          sub(`arn:\${AWS::Partition}:iam::\${AWS::AccountId}:role/report-${hyphens(name)}`),
        ),
      ),
    ],
    trusted: [],
  },
);

module.exports = {
  functions,
  resources: {
    Description: "Report jobs of Strongroom",
    Resources,
    Outputs: { ReportQueueUrl: { Value: { Ref: "ReportQueue" } } },
  },
};
