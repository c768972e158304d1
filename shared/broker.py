"""The topic of the usage events, and how to make it."""

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from shared.errors import UnavailableError
from shared.kafka_access import finish, kafka_client
from shared.settings import Settings

_RETENTION_MS = 90 * 24 * 3600 * 1000


class KafkaUnavailableError(UnavailableError):
    """Kafka does not answer."""

    def __init__(self, servers: str, reason: Exception) -> None:
        self.servers = servers
        super().__init__(
            f"Kafka does not answer at {servers} ({type(reason).__name__}); is it up, and are"
            " TALLYBOOK_KAFKA_BOOTSTRAP_SERVERS and TALLYBOOK_KAFKA_SECURITY_PROTOCOL right, and"
            " user and password where it asks for them?"
        )


async def create_topic(settings: Settings) -> bool:
    """Make the usage topic if it is missing; tell whether it was made now.

    Records are kept by the time the log received them, never by an event's own time.
    """
    servers = settings.kafka_bootstrap_servers
    admin = AIOKafkaAdminClient(**kafka_client(settings))
    try:
        await admin.start()
    except KafkaError as error:
        await finish(admin.close())
        raise KafkaUnavailableError(servers, error) from error
    try:
        topic = NewTopic(
            settings.usage_topic,
            settings.usage_partitions,
            settings.usage_replication,
            topic_configs={
                "message.timestamp.type": "LogAppendTime",
                "retention.ms": str(_RETENTION_MS),
                "cleanup.policy": "delete",
                "min.insync.replicas": "2" if settings.usage_replication > 2 else "1",
            },
        )
        response = await admin.create_topics([topic])
        _topic, code, message = response.topic_errors[0]
        refusal = for_code(code)
        if refusal is TopicAlreadyExistsError:
            return False
        if code != 0:
            raise KafkaUnavailableError(servers, refusal(message))
        return True
    finally:
        await finish(admin.close())


async def end_offsets(settings: Settings) -> dict[int, int]:
    """Give each partition's end: the offset that the next record will get."""
    return (await _offset_range(settings))[1]


async def first_offsets(settings: Settings) -> dict[int, int]:
    """Give each partition's first offset that is still kept."""
    return (await _offset_range(settings))[0]


async def _offset_range(settings: Settings) -> tuple[dict[int, int], dict[int, int]]:
    servers = settings.kafka_bootstrap_servers
    consumer = AIOKafkaConsumer(**kafka_client(settings), enable_auto_commit=False)
    try:
        await consumer.start()
        await consumer._client.force_metadata_update()
        partitions = consumer.partitions_for_topic(settings.usage_topic) or set()
        topics = [TopicPartition(settings.usage_topic, partition) for partition in partitions]
        firsts = await consumer.beginning_offsets(topics)
        ends = await consumer.end_offsets(topics)
        return (
            {topic.partition: offset for topic, offset in firsts.items()},
            {topic.partition: offset for topic, offset in ends.items()},
        )
    except KafkaError as error:
        raise KafkaUnavailableError(servers, error) from error
    finally:
        await finish(consumer.stop())
